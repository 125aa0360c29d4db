"""Endpoints of log-in, log-out and one's own password."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from app.access.auth import COOKIE, Auth, check_csrf, needs, open_to_all
from app.access.people import People
from app.access.sessions import Session
from app.access_errors import LoginFailed
from app.api import openapi_kept
from app.api.dependencies import each_once, read_json, uploads_of
from app.api.submissions import JSON_TYPE
from app.schemas.people import LoginAsked, PasswordAsked, SessionAnswer, SessionUser

open_router = APIRouter(tags=["people"], dependencies=[open_to_all(), Depends(each_once)])
router = APIRouter(tags=["people"], dependencies=[needs("review"), Depends(each_once)])
SETUP = "passline users add NAME --role admin"


async def _people(request: Request) -> People:
    found: People = request.app.state.people
    return found


ThePeople = Annotated[People, Depends(_people)]


@open_router.get("/v1/session", summary="Who is logged in", responses=openapi_kept.SESSION)
async def session(request: Request, people: ThePeople) -> SessionAnswer:
    """Whether a log-in is needed, who is logged in, and the token that changes must carry."""
    found = await people.session(request.cookies.get(COOKIE))
    if found is not None:
        return session_answer(found)
    if await people.exist():
        return SessionAnswer(mode="login")
    auth: Auth = request.app.state.auth
    return SessionAnswer(mode="setup" if auth.demand_keys else "local", setup=SETUP)


@open_router.post(
    "/v1/session", summary="Log in", responses=openapi_kept.LOGIN, openapi_extra=openapi_kept.LOGIN_BODY
)
async def log_in(request: Request, response: Response, people: ThePeople) -> SessionAnswer:
    """Start a session; its cookie cannot be read by pages, and is sent to this service alone."""
    asked = read_json(LoginAsked, await uploads_of(request).text(request, (JSON_TYPE,)))
    token, started = await people.log_in(asked.name, asked.password, _address(request))
    response.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=_is_encrypted(request))
    return session_answer(started)


@open_router.delete("/v1/session", summary="Log out", status_code=204, responses=openapi_kept.SESSION_END)
async def log_out(request: Request, people: ThePeople) -> Response:
    """End the session; without one nothing happens."""
    token = request.cookies.get(COOKIE)
    found = await people.session(token)
    if token and found is not None:
        check_csrf(request, found)
        await people.end(token)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=_is_encrypted(request))
    return response


@router.put(
    "/v1/session/password",
    summary="Change one's own password",
    status_code=204,
    responses=openapi_kept.OWN_PASSWORD,
    openapi_extra=openapi_kept.PASSWORD_BODY,
)
async def change_password(request: Request, people: ThePeople) -> Response:
    """Set a new password; every session of the user ends, also this one."""
    asked = read_json(PasswordAsked, await uploads_of(request).text(request, (JSON_TYPE,)))
    found = await people.session(request.cookies.get(COOKIE))
    if found is None or request.state.caller.kind != "user":
        raise LoginFailed("nobody is logged in whose password could be changed")
    await people.change_password(found, asked.old, asked.new, _address(request))
    return Response(status_code=204)


def session_answer(found: Session) -> SessionAnswer:
    """The session as an answer."""
    who = SessionUser(name=found.user.name, role=found.user.role)
    return SessionAnswer(mode="user", user=who, csrf=found.csrf)


def _address(request: Request) -> str:
    return "socket" if request.client is None else request.client.host


def _is_encrypted(request: Request) -> bool:
    """Whether the browser speaks TLS, here or with the proxy; a false header harms only its sender."""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", ""))

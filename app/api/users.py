"""Endpoints of users, API keys and the audit log."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response

from app.access.auth import needs
from app.access.users import HASHERS
from app.api import openapi_kept
from app.api.dependencies import TheService, each_once, read_json, uploads_of
from app.api.session import ThePeople
from app.api.submissions import JSON_TYPE
from app.database import audit
from app.inspection.types import Name
from app.schemas.people import (
    AuditAnswer,
    AuditEntry,
    AuditQuery,
    KeyAnswer,
    KeysAnswer,
    UserAnswer,
    UserAsked,
    UsersAnswer,
)

router = APIRouter(tags=["people"], dependencies=[needs("admin"), Depends(each_once)])
audit_router = APIRouter(tags=["people"], dependencies=[needs("operate"), Depends(each_once)])
UserName = Annotated[Name, Path(description="The user's name.")]


@router.get("/v1/users", summary="Every user", responses=openapi_kept.USERS)
async def users(people: ThePeople) -> UsersAnswer:
    """List users with their roles, without their passwords."""
    found = await asyncio.to_thread(people.users.all)
    return UsersAnswer(users=[UserAnswer.model_validate(each) for each in found])


@router.put(
    "/v1/users/{name}",
    summary="Add or change a user",
    responses=openapi_kept.USER_PUT,
    openapi_extra=openapi_kept.USER_BODY,
)
async def put(request: Request, people: ThePeople, name: UserName) -> UserAnswer:
    """Set role, password and whether the user may log in; a change ends the user's sessions."""
    asked = read_json(UserAsked, await uploads_of(request).text(request, (JSON_TYPE,)))
    who, table = request.state.caller.name, people.users

    def change() -> UserAnswer:
        made = table.put(who, name, asked.role, password=asked.password, disabled=asked.disabled)
        return UserAnswer.model_validate(made)

    answer = await asyncio.get_running_loop().run_in_executor(HASHERS, change)
    people.sessions.forget()
    return answer


@router.delete(
    "/v1/users/{name}", summary="Remove a user", status_code=204, responses=openapi_kept.USER_DELETE
)
async def remove(request: Request, people: ThePeople, name: UserName) -> Response:
    """Remove a user and end the sessions; what the user did stays in history and audit log."""
    await asyncio.to_thread(people.users.remove, request.state.caller.name, name)
    people.sessions.forget()
    return Response(status_code=204)


@router.get("/v1/keys", summary="Every API key", responses=openapi_kept.USERS)
async def keys(request: Request) -> KeysAnswer:
    """List the keys without their tokens, which are not stored."""
    found = await asyncio.to_thread(lambda: request.app.state.auth.keys.all)
    fields = set(KeyAnswer.model_fields)
    return KeysAnswer(keys=[KeyAnswer(**each.model_dump(include=fields)) for each in found])


@audit_router.get("/v1/audit", summary="Who changed what", responses=openapi_kept.AUDIT)
async def audit_log(service: TheService, query: Annotated[AuditQuery, Query()]) -> AuditAnswer:
    """Page through changes of users and reviews, newest first."""
    entries, following = await asyncio.to_thread(audit.page, service.database, query.before, query.limit)
    return AuditAnswer(entries=[AuditEntry(**each) for each in entries], next=following)

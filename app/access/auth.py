"""Access control: who may send which request, decided in one place, before the body is read.

A router states the scope that it needs with `dependencies=[needs("inspect")]`. `check_all_closed` refuses an
app with a route that states none, so that no route is open by mistake.
"""

import hmac
import ipaddress
import logging
import re
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from fastapi import Request, Security
from fastapi.routing import iter_route_contexts
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from starlette.datastructures import Headers
from starlette.routing import BaseRoute

from app.access.caller import LOCAL, LOCAL_CAMERA, Caller
from app.access.keys import Key, KeyRing, Scope
from app.access.people import People
from app.access.sessions import Session
from app.access_errors import (
    CsrfTokenMissing,
    ForeignPage,
    KeyRequired,
    NameNotAllowed,
    NotLocal,
    ScopeMissing,
)
from app.schemas.inspections import Labels
from app.settings import Settings
from app.telemetry.metrics import KEY_NAME

# Probes have no key; the pages contain no data of this machine, and a browser sends no key for them.
STATION = frozenset({"/", "/live", "/review", "/history", "/statistics", "/assets"})
OPEN = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json", "/static", "/v1/session"}) | STATION
HOW = "send it as `Authorization: Bearer TOKEN` or `X-API-Key: TOKEN`"
PASSED_ON = re.compile(r"forwarded|via|x-real-ip|x-forwarded(-.*)?")  # headers that proxies add
HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d+)?")  # `Host`: an address or a name, perhaps a port
COOKIE = "passline_session"
CSRF = "X-CSRF-Token"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
CARRIERS = ("Authorization", "X-API-Key")
log = logging.getLogger(__name__)
_BEARER = HTTPBearer(auto_error=False, scheme_name="bearer", description="An API key's token.")
_HEADER = APIKeyHeader(
    name="X-API-Key",
    auto_error=False,
    scheme_name="api_key",
    description="The same, for clients without bearer.",
)


class Auth:
    """Access control of one app; needs no keys if only this machine can reach it, unless settings say so."""

    def __init__(self, settings: Settings, people: People | None = None) -> None:
        self._people = people
        is_local = settings.socket is None and is_loopback(settings.host)
        self.demand_keys = settings.auth == "on" or (settings.auth == "auto" and not is_local)
        self._hosts = settings.allowed_hosts or frozenset()
        self._allowed = settings.allowed_origins or frozenset()
        self.keys = KeyRing(settings.keys_file)
        self._names_a_file = settings.keys_file is not None

    def admit(self, token: str | None, scope: Scope) -> Key | None:
        """The key of a permitted request, None if keys are off; raises KeyRequired or ScopeMissing."""
        return self._holder(token, scope) if self.demand_keys else None

    async def caller(self, request: Request, token: str | None, scope: Scope) -> Caller:
        """Who sends a request, if it is permitted; else raises one of the errors of access.

        Where no key is demanded, cameras of this machine need none. Everything else needs a session or a key
        as soon as there is a user.
        """
        if not self.demand_keys:
            self.refuse_remote(request.headers)
            self.refuse_foreign(request.headers)
            if scope == "inspect":
                return LOCAL_CAMERA
            if self._people is None or not await self._people.exist():
                return LOCAL
        cookie = request.cookies.get(COOKIE)
        if token is None and cookie is not None and self._people is not None:
            return self._person(request, await self._people.session(cookie), scope)
        key = self._holder(token, scope)
        return Caller(key.name, "key", key.scope, key)

    def _person(self, request: Request, session: Session | None, scope: Scope) -> Caller:
        if session is None:
            raise KeyRequired(f"the session is over; log in again, or send a key with the scope {scope}")
        user = session.user
        caller = Caller(user.name, "user", user.scope)
        if not caller.allows(scope):
            raise ScopeMissing(f"{user.name} is {user.role}; this address needs the scope {scope}", scope)
        if request.method not in SAFE:
            check_csrf(request, session)
        return caller

    def _holder(self, token: str | None, scope: Scope) -> Key:
        key = self.keys.find(token) if token else None
        if key is None or key.has_expired:
            raise KeyRequired(self._why(token, key, scope))
        if not key.allows(scope):
            raise ScopeMissing(f"key {key.name} has the scope {key.scope}; this address needs {scope}", scope)
        return key

    def refuse_remote(self, headers: Headers) -> None:
        """Raise NotLocal if a proxy forwarded the request, or its Host is neither loopback nor allowed.

        A proxy on this machine reaches loopback for all its clients. A foreign name server can resolve its
        own name to this machine and so lead a browser here (DNS rebinding).
        """
        if passed_on := sorted({name for name in headers if PASSED_ON.fullmatch(name)}):
            raise NotLocal(
                f"the request was passed on by a proxy ({', '.join(passed_on)}); behind one, demand keys: "
                "set PASSLINE_AUTH=on"
            )
        sent = headers.get("host", "")
        host = (_address(f"//{sent}").hostname or "") if HOST.fullmatch(sent) else sent
        if not (is_loopback(host) or host in self._hosts):
            raise NotLocal(
                f"the request is for the host {host!r}; where no key is demanded, call localhost or a "
                "loopback address, name the host in PASSLINE_ALLOWED_HOSTS, or set PASSLINE_AUTH=on and send "
                "a key"
            )

    def refuse_foreign(self, headers: Headers) -> None:
        """Raise ForeignPage if a browser sends the request for a page of another origin that is not allowed.

        A browser sends whatever any page requests, with or without its user knowing. Clients that are no
        browsers send neither Origin nor Sec-Fetch-Site.
        """
        origin, site, host = (headers.get(name, "") for name in ("origin", "sec-fetch-site", "host"))
        if origin in self._allowed or not (origin or site):
            return
        address = _address(origin).netloc  # none of `null`, nor of one that is malformed
        if site in ("cross-site", "same-site") or (origin and (not address or address != host)):
            raise ForeignPage(
                "a page from elsewhere asks; where no key is demanded only this box's own may: "
                "name its origin in PASSLINE_ALLOWED_ORIGINS, or set PASSLINE_AUTH=on and send a key"
            )

    def obstacle(self) -> str | None:
        """Why every request would be refused at the moment, and the remedy; None if some key is valid."""
        return (
            None if not self.demand_keys or len(self.keys) else f"there is no API key; {self._how_to_make()}"
        )

    def _why(self, token: str | None, key: Key | None, scope: Scope) -> str:
        if not token:
            return f"an API key with the scope {scope} is needed; {HOW}; {self._how_to_make(scope)}"
        if key is None:
            return f"the API key sent is not known here; {self._how_to_make(scope)}"
        return f"key {key.name} expired at {key.expires}; {self._how_to_make(key.scope)}"

    def _how_to_make(self, scope: Scope = "inspect") -> str:
        first = "" if self._names_a_file else "set PASSLINE_KEYS_FILE to a file and "
        return f"to make one, {first}run `passline keys add --scope {scope} --name NAME` on the box"


def needs(scope: Scope) -> Any:
    """The dependency of a router, or of one endpoint, that requires this scope."""
    return Security(_admit, scopes=[scope])


async def _admit(
    request: Request,
    wanted: SecurityScopes,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    header: Annotated[str | None, Security(_HEADER)],
) -> None:
    auth: Auth = request.app.state.auth
    token = bearer.credentials if bearer else header
    scope: Any = wanted.scopes[-1]
    twice = [name for name in CARRIERS if len(request.headers.getlist(name)) > 1]
    if twice and auth.demand_keys:
        raise KeyRequired(f"{' and '.join(twice)} is given more than once; send one key, once")
    caller = await auth.caller(request, token, scope)
    request.state.caller, request.state.key = caller, caller.key
    KEY_NAME.set(None if caller.kind == "local" else caller.name)


def open_to_all() -> Any:
    """The dependency of a router that anybody may call who can reach the service: to log in."""
    return Security(_admit_all)


async def _admit_all(request: Request) -> None:
    auth: Auth = request.app.state.auth
    if not auth.demand_keys:
        auth.refuse_remote(request.headers)
    auth.refuse_foreign(request.headers)


def check_csrf(request: Request, session: Session) -> None:
    """Raise CsrfTokenMissing unless the request carries the token of its session."""
    sent = request.headers.get(CSRF, "")
    if not hmac.compare_digest(sent.encode("utf-8", "replace"), session.csrf.encode()):
        raise CsrfTokenMissing(f"send the `csrf` of GET /v1/session as {CSRF}")


def check_names(request: Request, labels: Labels) -> None:
    """Raise NameNotAllowed if the request's key may not name its camera or recipe."""
    key: Key | None = request.state.key
    if key is None:
        return
    for kind, value in (("camera", labels.camera_id), ("recipe", labels.recipe)):
        if value is not None and not key.may_name(kind, value):
            raise NameNotAllowed(
                f"key {key.name} may not name the {kind} {value!r}; leave it out, or send a key made with "
                f"`passline keys add --{kind} NAME`"
            )


def check_all_closed(routes: Sequence[BaseRoute]) -> None:
    """Raise RuntimeError if a route is neither open nor states the scope it needs: a bug."""
    for route in iter_route_contexts(routes):
        dependant = getattr(route, "dependant", None)  # only FastAPI's endpoints have one
        closed = dependant is not None and any(each.call is _admit for each in dependant.dependencies)
        if not closed and route.path not in OPEN:
            raise RuntimeError(f"{route.path} states no scope; give its router `needs(...)`")


def _address(text: str) -> SplitResult:
    """The parts of an address; all are empty if it is malformed."""
    try:
        return urlsplit(text)
    except ValueError:
        return urlsplit("")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address; of names only localhost counts."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

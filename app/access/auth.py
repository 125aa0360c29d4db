"""Who may come in: the one place where it is decided, before a request's body is read.

A router says what it takes with `dependencies=[needs("inspect")]`. `check_all_closed` refuses an app with a
route that says nothing, so that nobody opens one by forgetting.
"""

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

from app.access.keys import Key, KeyRing, Scope
from app.access_errors import ForeignPage, KeyRequired, NotLocal, ScopeMissing
from app.settings import Settings
from app.telemetry.metrics import KEY_NAME

# Probes come from what has no key; the pages hold nothing of this box, and a browser sends no key for them.
OPEN = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json", "/static"})
HOW = "send it as `Authorization: Bearer TOKEN` or `X-API-Key: TOKEN`"
PASSED_ON = re.compile(r"forwarded|via|x-real-ip|x-forwarded(-.*)?")  # headers that proxies add
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
    """Decides for one app; demands no keys where only this machine can ask, unless the settings say so."""

    def __init__(self, settings: Settings) -> None:
        is_local = settings.socket is None and is_loopback(settings.host)
        self.demand_keys = settings.auth == "on" or (settings.auth == "auto" and not is_local)
        self._hosts = settings.allowed_hosts or frozenset()
        self._allowed = settings.allowed_origins or frozenset()
        self.keys = KeyRing(settings.keys_file)
        self._names_a_file = settings.keys_file is not None

    def admit(self, token: str | None, scope: Scope) -> Key | None:
        """The key that lets a request in, None where none is demanded; raises KeyRequired or ScopeMissing."""
        if not self.demand_keys:
            return None
        key = self.keys.find(token) if token else None
        if key is None or key.has_expired:
            raise KeyRequired(self._why(token, key, scope))
        if not key.allows(scope):
            raise ScopeMissing(f"key {key.name} has the scope {key.scope}; this address needs {scope}", scope)
        return key

    def refuse_remote(self, headers: Headers) -> None:
        """Raise NotLocal where a proxy passes a request on, or where it calls this machine by a foreign name.

        A proxy on this machine reaches loopback for everyone it serves. A foreign name server may resolve its
        own name to this machine and so lead a browser here (DNS rebinding).
        """
        if passed_on := sorted({name for name in headers if PASSED_ON.fullmatch(name)}):
            raise NotLocal(
                f"the request was passed on by a proxy ({', '.join(passed_on)}); behind one, demand keys: "
                "set PASSLINE_AUTH=on"
            )
        host = _address(f"//{headers.get('host', '')}").hostname or ""
        if not (is_loopback(host) or host in self._hosts):
            raise NotLocal(
                f"the request is for the host {host!r}; where no key is demanded, call localhost or a "
                "loopback address, name the host in PASSLINE_ALLOWED_HOSTS, or set PASSLINE_AUTH=on and send "
                "a key"
            )

    def refuse_foreign(self, headers: Headers) -> None:
        """Raise ForeignPage where a browser asks for a page that is neither this box's own nor allowed.

        A browser sends whatever any page asks it to, with or without its user knowing; a key would tell. What
        is no browser says nothing of pages.
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
        """Why nobody could get in at this moment, and what would be right; None where somebody can."""
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
    """The dependency of a router, or of one endpoint, that lets in who holds this scope."""
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
    if not auth.demand_keys:
        auth.refuse_remote(request.headers)
        auth.refuse_foreign(request.headers)
    key = auth.admit(token, scope)
    KEY_NAME.set(None if key is None else key.name)


def check_all_closed(routes: Sequence[BaseRoute]) -> None:
    """Raise RuntimeError where a route is neither open nor says what it needs: a fault of ours."""
    for route in iter_route_contexts(routes):
        dependant = getattr(route, "dependant", None)  # what is no endpoint of FastAPI's has none
        closed = dependant is not None and any(each.call is _admit for each in dependant.dependencies)
        if not closed and route.path not in OPEN:
            raise RuntimeError(f"{route.path} does not say who may come in; give its router `needs(...)`")


def _address(text: str) -> SplitResult:
    """The parts of an address; of one that is malformed there are none."""
    try:
        return urlsplit(text)
    except ValueError:
        return urlsplit("")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address to listen on; a name other than localhost may be any."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

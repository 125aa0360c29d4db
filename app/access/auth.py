"""Who may come in: the one place where it is decided, before a request's body is read.

A router says what it takes with `dependencies=[needs("inspect")]`. `check_all_closed` refuses an app with a
route that says nothing, so that nobody opens one by forgetting.
"""

import ipaddress
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Request, Security
from fastapi.routing import iter_route_contexts
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from starlette.datastructures import Headers
from starlette.routing import BaseRoute

from app.access.keys import Key, KeyRing, Scope
from app.errors import ForeignPage, KeyRequired, RateLimited, ScopeMissing
from app.settings import Settings
from app.telemetry.metrics import KEY_NAME

# Probes come from what has no key; the pages hold nothing of this box, and a browser sends no key for them.
OPEN = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json", "/static"})
HOW = "send it as `Authorization: Bearer TOKEN` or `X-API-Key: TOKEN`"
CARRIERS = ("Authorization", "X-API-Key")
log = logging.getLogger(__name__)
_BEARER = HTTPBearer(auto_error=False, scheme_name="bearer", description="An API key's token.")
_HEADER = APIKeyHeader(
    name="X-API-Key",
    auto_error=False,
    scheme_name="api_key",
    description="The same, for clients without bearer.",
)
MOST_CALLERS = 4096  # kept at once; beyond, the one not seen for longest starts anew


class RateLimit:
    """Lets each caller ask `per_minute` times at once, and then as fast as that number comes back."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = float(per_minute)
        self._per_second = per_minute / 60
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, and since when

    def take(self, caller: str) -> None:
        """Count one request; raises RateLimited with the seconds after which there is room."""
        now = self._clock()
        left, since = self._buckets.pop(caller, (self._size, now))
        left = min(self._size, left + (now - since) * self._per_second)
        if left >= 1:
            self._keep(caller, left - 1, now)
            return
        self._keep(caller, left, now)
        wait = math.ceil((1 - left) / self._per_second)
        raise RateLimited(
            f"{self._size:.0f} requests a minute are taken from one caller; ask again in {wait} s", wait
        )

    def _keep(self, caller: str, left: float, now: float) -> None:
        self._buckets[caller] = (left, now)
        if len(self._buckets) > MOST_CALLERS:
            self._buckets.popitem(last=False)


class Auth:
    """Decides for one app; demands no keys where only this machine can ask, unless the settings say so."""

    def __init__(self, settings: Settings) -> None:
        self.demand_keys = settings.auth == "on" or (
            settings.auth == "auto" and not is_loopback(settings.host)
        )
        self._on_loopback = is_loopback(settings.host)
        self.keys = KeyRing(settings.keys_file)
        self._names_a_file = settings.keys_file is not None
        per_minute = settings.rate_limit_per_minute
        self._rate = None if per_minute is None else RateLimit(per_minute)

    def admit(self, token: str | None, address: str, scope: Scope, *, again: bool = False) -> Key | None:
        """The key that lets a request in, None where none is demanded; `again`: it was counted before.

        Raises KeyRequired, ScopeMissing or RateLimited.
        """
        key = self.keys.find(token) if self.demand_keys and token else None
        if self._rate is not None and not again:
            self._rate.take(f"key {key.name}" if key else f"address {address}")
        if not self.demand_keys:
            return None
        if key is None or key.has_expired:
            raise KeyRequired(self._why(token, key, scope))
        if not key.allows(scope):
            raise ScopeMissing(f"key {key.name} has the scope {key.scope}; this address needs {scope}", scope)
        return key

    def refuse_twice(self, headers: Sequence[str], address: str) -> None:
        """Raise KeyRequired, or RateLimited, where a request's headers that carry keys come twice."""
        if self._rate is not None:
            self._rate.take(f"address {address}")
        raise KeyRequired(f"{' and '.join(headers)} is given more than once; send one key, once")

    def refuse_foreign(self, headers: Headers) -> None:
        """Raise ForeignPage where a browser asks for a page that is not this box's own.

        A browser sends whatever any page asks it to, with or without its user knowing; a key would tell. What
        is no browser says nothing of pages.
        """
        origin, site, host = (headers.get(name, "") for name in ("origin", "sec-fetch-site", "host"))
        if not origin and not site:
            return
        foreign = site in ("cross-site", "same-site") or (origin and urlsplit(origin).netloc != host)
        # a name that somebody else's server answers for leads wherever that server says, here too
        rebound = self._on_loopback and not is_loopback(urlsplit(f"//{host}").hostname or "")
        if foreign or rebound:
            raise ForeignPage(
                "a page from elsewhere asks; where no key is demanded only this box's own may: "
                "set PASSLINE_AUTH=on and send a key"
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
    address = request.client.host if request.client else "unknown"
    scope: Any = wanted.scopes[-1]
    again = getattr(request.state, "was_asked", False)  # an endpoint may need more than its router
    request.state.was_asked = True
    twice = [name for name in CARRIERS if len(request.headers.getlist(name)) > 1]
    if twice and auth.demand_keys:
        auth.refuse_twice(twice, address)
    if not auth.demand_keys:
        auth.refuse_foreign(request.headers)
    key = auth.admit(token, address, scope, again=again)
    KEY_NAME.set(None if key is None else key.name)


def check_all_closed(routes: Sequence[BaseRoute]) -> None:
    """Raise RuntimeError where a route is neither open nor says what it needs: a fault of ours."""
    for route in iter_route_contexts(routes):
        dependant = getattr(route, "dependant", None)  # what is no endpoint of FastAPI's has none
        closed = dependant is not None and any(each.call is _admit for each in dependant.dependencies)
        if not closed and route.path not in OPEN:
            raise RuntimeError(f"{route.path} does not say who may come in; give its router `needs(...)`")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address to listen on; a name other than localhost may be any."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

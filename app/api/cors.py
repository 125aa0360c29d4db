"""CORS: only pages of origins in `PASSLINE_ALLOWED_ORIGINS` may call the service from a browser."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

METHODS = "GET, HEAD, POST, PUT, DELETE"
EXPOSED = "ETag, Retry-After, WWW-Authenticate, X-Request-ID"
KEPT_S = "600"


class CrossOrigin:
    """The CORS headers of the response to one request; none if no origin is allowed."""

    def __init__(self, allowed: frozenset[str], headers: Headers) -> None:
        self._varies = bool(allowed)
        self._headers = headers
        origins = headers.getlist("origin")
        self._origin = origins[0] if len(origins) == 1 and origins[0] in allowed else None

    def preflight(self, method: str) -> Response | None:
        """The response to a preflight request of an allowed origin; None for any other request."""
        if (
            method != "OPTIONS"
            or self._origin is None
            or "access-control-request-method" not in self._headers
        ):
            return None
        answer = {"Access-Control-Allow-Methods": METHODS, "Access-Control-Max-Age": KEPT_S}
        if wanted := self._headers.get("access-control-request-headers"):
            answer["Access-Control-Allow-Headers"] = wanted
        if self._headers.get("access-control-request-private-network") == "true":
            answer["Access-Control-Allow-Private-Network"] = "true"
        return Response(status_code=204, headers=answer)

    def complete(self, headers: MutableHeaders) -> None:
        """Add the headers that let the page read the response."""
        if self._varies:
            headers.add_vary_header("Origin")
        if self._origin is not None:
            headers["Access-Control-Allow-Origin"] = self._origin
            headers["Access-Control-Expose-Headers"] = EXPOSED

"""What every answer tells a browser, so that a page of this box can be misused as little as possible."""

from starlette.datastructures import MutableHeaders
from starlette.types import Scope

NOTHING = "default-src 'none'; frame-ancestors 'none'"  # an answer that is no page needs nothing
KEPT = "/static/"  # the same on every box; all else is about this one, and is not for a cache
A_YEAR = "max-age=31536000"


def protect(headers: MutableHeaders, scope: Scope) -> None:
    """Add to an answer's headers what they do not say themselves."""
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "no-referrer")
    headers.setdefault("Content-Security-Policy", NOTHING)
    if not scope["path"].startswith(KEPT):
        headers.setdefault("Cache-Control", "no-store")
    if scope["scheme"] == "https":
        headers.setdefault("Strict-Transport-Security", A_YEAR)

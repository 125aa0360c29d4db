"""Addresses as RFC 9110 and 9112 have them: absolute-form targets, `HEAD`, and bytes that are no UTF-8."""

import re
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

from app.errors import RequestInvalid, WrongField

_ABSOLUTE = re.compile(rb"https?://([^/]*)(.*)", re.IGNORECASE | re.DOTALL)


def in_origin_form(scope: Scope) -> Scope:
    """A request whose target is a whole address, as proxies' clients send it, as any other request.

    The address says the host, and the header `Host` is ignored (RFC 9112, section 3.2.2).
    """
    found = _ABSOLUTE.fullmatch(scope["raw_path"])
    if found is None:
        return scope
    host, path = found[1], found[2] or b"/"
    others = [(name, value) for name, value in scope["headers"] if name != b"host"]
    return {
        **scope,
        "raw_path": path,
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "headers": [(b"host", host), *others],
    }


def as_get(scope: Scope) -> Scope:
    """`HEAD` is served as `GET`, whose body the caller leaves out: so every address that has one has both."""
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope


def check_utf8(scope: Scope) -> None:
    """Raise RequestInvalid for an address that is no UTF-8: other texts would be read than were sent."""
    for place, sent in (("path", scope["raw_path"]), ("query", scope["query_string"])):
        try:
            unquote_to_bytes(sent).decode("utf-8")
        except UnicodeDecodeError as error:
            message = "is not UTF-8 once its %XX are read; encode texts as UTF-8 first"
            raise RequestInvalid(f"the {place} {message}", (WrongField(place, message),)) from error

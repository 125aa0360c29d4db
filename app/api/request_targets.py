"""Request targets (RFC 9110, RFC 9112): absolute form, `HEAD` as `GET`, and the check for UTF-8."""

import re
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

from app.errors import RequestInvalid, WrongField

_ABSOLUTE = re.compile(rb"https?://([^/]*)(.*)", re.IGNORECASE | re.DOTALL)


def in_origin_form(scope: Scope) -> Scope:
    """Convert a target in absolute form, as clients send it to proxies, to origin form.

    The host of the target replaces the header `Host` (RFC 9112, section 3.2.2).
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
    """Serve `HEAD` as `GET`; the caller drops the body. So every address with `GET` has `HEAD` too."""
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope


def check_utf8(scope: Scope) -> None:
    """Raise RequestInvalid for an address that is not UTF-8: its text would be read wrongly."""
    for place, sent in (("path", scope["raw_path"]), ("query", scope["query_string"])):
        try:
            unquote_to_bytes(sent).decode("utf-8")
        except UnicodeDecodeError as error:
            message = "is not UTF-8 after percent-decoding; encode text as UTF-8 first"
            raise RequestInvalid(f"the {place} {message}", (WrongField(place, message),)) from error

"""JSON bodies: any JSON text, and forms as JSON objects whose files are base64 or data URLs."""

import binascii
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from app.api.multipart import File, Form
from app.errors import BatchTooLarge, RequestInvalid, WrongField
from app.inspection.repeats import repeated

MAX_VALUES = 4096  # per form: an image is one value, and a small value takes much more than its bytes


def parse(text: str) -> Any:
    """Parse JSON; raises RequestInvalid if the text is not JSON or repeats a key."""
    try:
        return json.loads(text, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise RequestInvalid(f"the body is not valid JSON: {error}") from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if repeated(key for key, _ in pairs):
        raise ValueError("a key is given twice; give it once")
    return dict(pairs)


def read_form(body: bytes, most_files: Mapping[str, int], text_fields: frozenset[str]) -> Form:
    """Read a form from a JSON object, without its nulls; raises RequestInvalid or BatchTooLarge."""
    # Every value but the first follows one of these, so memory is bounded before anything is parsed.
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise RequestInvalid(f"the body has more than {MAX_VALUES} values")
    try:
        found = parse(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RequestInvalid(f"the body is not UTF-8: {error}") from error
    if not isinstance(found, dict):
        raise RequestInvalid("the body is not a JSON object")
    form = Form({name: [] for name in most_files}, {}, "body")
    for name, value in found.items():
        if name in text_fields and isinstance(value, str | int) and not isinstance(value, bool):
            form.texts[name] = value
        elif name in most_files and value is not None:
            form.files[name] += _files(name, value, most_files[name])
        elif name not in (*most_files, *text_fields) or value is not None:
            known = ", ".join((*most_files, *sorted(text_fields)))
            raise _wrong(name, f"is not a field, or not text or a number; the fields are {known}")
    return form


def _files(name: str, value: object, most: int) -> list[File]:
    texts = value if isinstance(value, list) else [value]
    if len(texts) > most > 1:
        raise BatchTooLarge(f"at most {most} images are accepted at once; send the others in another request")
    if len(texts) > most:
        raise _wrong(name, "is given more than once; give it once")
    several = isinstance(value, list)
    return [_file(f"{name}[{n}]" if several else name, each) for n, each in enumerate(texts)]


def _file(name: str, value: object) -> File:
    """Decode a file from base64, with or without line breaks, or from a data URL (RFC 2397)."""
    if not isinstance(value, str):
        raise _wrong(name, "is not text; send the file in base64 or as a data URL")
    media_type, data = "", value
    if value[:5].lower() == "data:":
        about, comma, data = value[5:].partition(",")
        media_type, *parameters = (each.strip().lower() for each in about.split(";"))
        if not comma or "base64" not in parameters:
            raise _wrong(name, "is a data URL that is not in base64")
    try:
        # Only line breaks are removed: a blank is an error, such as a `+` that a client encoded wrongly.
        encoded = unquote_to_bytes(data) if "%" in data else data.encode("ascii")
        return File(None, binascii.a2b_base64(encoded.translate(None, b"\r\n"), strict_mode=True), media_type)
    except ValueError as error:
        raise _wrong(name, f"is not base64: {error}") from error


def _wrong(name: str, message: str) -> RequestInvalid:
    shown = name[:64]
    return RequestInvalid(f"{shown!r} {message}", (WrongField(f"body.{shown}", message),))

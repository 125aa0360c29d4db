"""Types of settings whose text needs more than pydantic's own parsing: lists and objects in one variable."""

import json
from datetime import time
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, InstanceOf
from pydantic_settings import NoDecode

MIB = 1024 * 1024
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]


def _of_json(value: object) -> object:
    """Parse a variable's JSON here, where the error can say what is wrong with it."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError('is not a JSON object of integers by camera_id, such as {"press-2": 10}')
    return found


Priorities = Annotated[dict[str, int], NoDecode, BeforeValidator(_of_json)]
_PORTS = {"http": 80, "https": 443}


def _origin(text: str) -> str:
    """Normalise an origin as browsers send it: in lower case, without its scheme's default port."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:  # such as brackets without an IPv6 address
        parts, host, port = urlsplit(""), None, None
    is_one = host and text.isascii() and not (parts.path + parts.query + parts.fragment) and "@" not in text
    if parts.scheme not in _PORTS or not is_one:
        raise ValueError(
            f"{text!r} is not an origin; write scheme://host:port, such as http://hmi.plant:3000"
        )
    address = f"[{host}]" if ":" in str(host) else str(host)
    return f"{parts.scheme}://{address}" + ("" if port in (None, _PORTS[parts.scheme]) else f":{port}")


def _origins(value: object) -> object:
    """Parse a comma-separated list of origins here, where the error can name the wrong entry."""
    return frozenset(_origin(each.strip()) for each in value.split(",")) if isinstance(value, str) else value


def _hosts(value: object) -> object:
    """Parse a comma-separated list of host names."""
    if not isinstance(value, str):
        return value
    return frozenset(each.strip().lower() for each in value.split(",") if each.strip())


def _shifts(value: object) -> object:
    """Parse a comma-separated list of the times at which shifts begin, each at a full hour."""
    if not isinstance(value, str):
        return value
    try:
        found = tuple(sorted(time.fromisoformat(each.strip()) for each in value.split(",")))
    except ValueError:
        found = ()
    if not found or any(each.minute or each.second for each in found):
        raise ValueError("is not a list of full hours, such as 06:00,14:00,22:00")
    return found


def _zone(value: object) -> object:
    """The time zone of a name."""
    if not isinstance(value, str):
        return value
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"{value!r} is no time zone; name one such as Europe/Berlin") from None


Shifts = Annotated[tuple[time, ...], NoDecode, BeforeValidator(_shifts)]
Zone = Annotated[InstanceOf[ZoneInfo], BeforeValidator(_zone)]
Hosts = Annotated[frozenset[str] | None, NoDecode, BeforeValidator(_hosts)]
Origins = Annotated[frozenset[str] | None, NoDecode, BeforeValidator(_origins)]

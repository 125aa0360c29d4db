"""Which form of an answer a request's `Accept` asks for (RFC 9110, section 12.5.1)."""

import re
from collections.abc import Iterable

_QUALITY = re.compile(r"[01](\.[0-9]{0,3})?")


def wants(accept: Iterable[str], media_type: str, instead_of: str) -> bool:
    """Whether `Accept`, all lines of it, prefers one media type to the one that is answered otherwise.

    Where it likes both as well, or says nothing, it is the other.
    """
    ranges = [each for line in accept for each in line.split(",") if each.strip()]
    return _quality(ranges, media_type) > _quality(ranges, instead_of)


def _quality(ranges: Iterable[str], media_type: str) -> float:
    """How much a media type is liked, 0 for not at all: the most exact range that names it says so."""
    kind = media_type.partition("/")[0]
    exactness = {"*/*": 1, f"{kind}/*": 2, media_type: 3}
    found = [(0, 0.0)]
    for each in ranges:
        name, *parameters = (part.strip().lower() for part in each.split(";"))
        given = dict(part.partition("=")[::2] for part in parameters)
        quality = given.get("q", "1").strip()
        if name in exactness and _QUALITY.fullmatch(quality):
            found.append((exactness[name], float(quality)))
    return max(found)[1]

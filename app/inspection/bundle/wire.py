"""Fields of a protobuf message, read without a schema and without copying.

Source: protobuf.dev, "Encoding". Stricter than that: groups, which are deprecated, are refused.
"""

from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}
_MAX_SHIFT = 63  # a varint has at most ten bytes


class WireError(ValueError):
    """The bytes are not a protobuf message."""


class Field(NamedTuple):
    """One field: a number for VARINT, its bytes for the other kinds."""

    number: int
    kind: int
    value: int
    data: memoryview


class Reader:
    """Reads messages of one file, and at most `max_fields` fields in all of them."""

    def __init__(self, max_fields: int) -> None:
        self._left = max_fields

    def fields(self, message: memoryview) -> Iterator[Field]:
        """The fields of a message in order; raises WireError."""
        place = 0
        while place < len(message):
            self._left -= 1
            if self._left < 0:
                raise WireError("it has too many fields")
            tag, place = _varint(message, place)
            number, kind = tag >> 3, tag & 7
            if not 0 < number < 1 << 29:
                raise WireError(f"it has a field of the number {number}")
            value, size = 0, 0
            if kind == VARINT:
                value, place = _varint(message, place)
            elif kind == BYTES:
                size, place = _varint(message, place)
            elif kind in _FIXED:
                size = _FIXED[kind]
            else:
                raise WireError(f"it has a field of the wire type {kind}")
            if size > len(message) - place:
                raise WireError("it is cut off, or a length in it is wrong")
            yield Field(number, kind, value, message[place : place + size])
            place += size


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """The unsigned number at a place, cut to 64 bits, and the place after it."""
    value = 0
    for shift in range(0, _MAX_SHIFT + 1, 7):
        if place >= len(message):
            raise WireError("it is cut off")
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, place
    raise WireError("a number in it is too long")

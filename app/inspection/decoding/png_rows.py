"""Unpack the rows of a PNG, some at a time: inflated by zlib, their filters undone by libpng.

A filter needs the row above, so each block of rows is given to OpenCV as a small PNG of its own that begins
with the last row of the block before. So the memory beside the image is bounded, the file is inflated only
once, and the work can end between two blocks.
"""

import zlib
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.cancellation import Cancellation
from app.inspection.decoding.depth import unpack_bits
from app.inspection.decoding.png_chunks import GREY, RGB, RGBA, SIGNATURE, Chunks, broken
from app.inspection.errors import ImageTruncated

# Adam7: first column and row of each pass, and its column and row steps.
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
WHOLE = ((0, 0, 1, 1),)
AT_ONCE = 1 << 20  # bytes or pixels of rows unpacked together
PIECE = 1 << 16  # bytes given to zlib at once
MAX_FILTER = 4
# Colour type and bits of a PNG whose pixels have so many bytes: filters know no more of a pixel.
AS = {1: (GREY, 8), 2: (GREY, 16), 3: (RGB, 8), 4: (RGBA, 8), 6: (RGB, 16), 8: (RGBA, 16)}

Place = tuple[slice, slice]  # rows and columns
Samples = NDArray[np.integer[Any]]


def blocks(data: bytes, png: Chunks, cancellation: Cancellation) -> Iterator[tuple[Place, Samples]]:
    """Yield all samples, uint8 or uint16 [rows, columns, channels], and their place in the image.

    Raises ImageTruncated if rows are missing, ImageUndecodable for damaged ones, and the error of
    `cancellation`.
    """
    stream = _Stream(data, png, _expected(png))
    for x, y, across, down in _passes(png):
        columns, rows = -(-(png.width - x) // across), -(-(png.height - y) // down)
        if columns <= 0 or rows <= 0:
            continue
        line, above = _line_bytes(png, columns), None
        step = max(1, AT_ONCE // max(line + 1, columns))
        for first in range(0, rows, step):
            cancellation.check()
            count = min(step, rows - first)
            lines, above = _unfiltered(stream.take(count * (line + 1)), line, above, png)
            place = slice(y + first * down, y + (first + count - 1) * down + 1, down), slice(x, None, across)
            yield place, _samples(lines, png, columns)


def _passes(png: Chunks) -> tuple[tuple[int, int, int, int], ...]:
    return PASSES if png.is_interlaced else WHOLE


def _line_bytes(png: Chunks, columns: int) -> int:
    return -(-columns * png.bits * png.channels // 8)


def _expected(png: Chunks) -> int:
    """Size in bytes of the inflated pixel data; each row begins with a filter byte."""
    sizes = [
        (-(-(png.width - x) // across), -(-(png.height - y) // down)) for x, y, across, down in _passes(png)
    ]
    return sum(rows * (1 + _line_bytes(png, columns)) for columns, rows in sizes if columns > 0 and rows > 0)


class _Stream:
    """The inflated pixel data, read in order."""

    def __init__(self, data: bytes, png: Chunks, expected: int) -> None:
        self._pieces = (
            data[at : min(at + PIECE, end)] for begin, end in png.pixels for at in range(begin, end, PIECE)
        )
        self._zlib = zlib.decompressobj()
        self._rest = b""
        self._taken = 0
        self._expected = expected

    def take(self, count: int) -> bytearray:
        """The next `count` bytes; raises ImageTruncated if there are fewer, ImageUndecodable."""
        found = bytearray()
        try:
            while len(found) < count and not self._zlib.eof:
                more = self._zlib.decompress(self._rest, count - len(found))
                self._rest = self._zlib.unconsumed_tail
                found += more
                if not more and not self._rest:
                    piece = next(self._pieces, None)
                    if piece is None:
                        break
                    self._rest = piece
        except zlib.error as error:
            raise broken(str(error)) from error
        self._taken += len(found)
        if len(found) < count:
            lack = f"{self._taken} of {self._expected} bytes of its pixels are present"
            raise ImageTruncated(f"the file holds only a part of the image ({lack}); send it whole")
        return found


def _unfiltered(
    filtered: bytearray, line: int, above: bytes | None, png: Chunks
) -> tuple[NDArray[np.uint8], bytes]:
    """The bytes of rows, uint8 [rows, line], and those of the last row; `above` is the row before them."""
    rows = np.frombuffer(filtered, np.uint8).reshape(-1, line + 1)
    if rows[:, 0].max() > MAX_FILTER:
        raise broken("a row has a filter that no standard defines")
    if not rows[:, 0].any():
        return rows[:, 1:], rows[-1, 1:].tobytes()
    size = max(1, png.bits * png.channels // 8)  # bytes of a pixel, or of several small ones
    start = b"" if above is None else b"\0" + above
    found = cv2.imdecode(
        np.frombuffer(_small_png(line // size, AS[size], start + filtered), np.uint8), cv2.IMREAD_UNCHANGED
    )
    if found is None:
        raise broken("a row cannot be unpacked")
    lines = _in_file_order(found, line)[0 if above is None else 1 :]
    return lines, lines[-1].tobytes()


def _in_file_order(found: NDArray[Any], line: int) -> NDArray[np.uint8]:
    """What OpenCV returns, BGR in the machine's byte order, as the bytes of a PNG's rows."""
    if found.ndim == 3:
        found = found[..., [2, 1, 0, 3][: found.shape[2]]]
    if found.dtype == np.uint16:
        found = found.astype(">u2")
    return np.ascontiguousarray(found).view(np.uint8).reshape(len(found), line)


def _small_png(width: int, kind: tuple[int, int], rows: bytes) -> bytes:
    """A PNG of these filtered rows, not compressed."""
    colour_type, bits = kind
    size = 1 + width * {GREY: 1, RGB: 3, RGBA: 4}[colour_type] * bits // 8
    header = b"".join(each.to_bytes(4, "big") for each in (width, len(rows) // size))
    header += bytes((bits, colour_type, 0, 0, 0))
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    parts = [SIGNATURE]
    for name, content in chunks:
        crc = zlib.crc32(content, zlib.crc32(name))
        parts += (len(content).to_bytes(4, "big"), name, content, crc.to_bytes(4, "big"))
    return b"".join(parts)


def _samples(lines: NDArray[np.uint8], png: Chunks, columns: int) -> Samples:
    """The samples [rows, columns, channels] of rows of bytes."""
    if png.bits < 8:
        return unpack_bits(lines, png.bits, columns)[..., None]
    wide = np.ascontiguousarray(lines).view(">u2") if png.bits == 16 else lines
    return wide.reshape(len(lines), columns, png.channels)

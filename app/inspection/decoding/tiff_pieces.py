"""Unpack the strips and tiles of a TIFF, some lines at a time.

Deflate is unpacked by zlib. For the other compressions, libtiff gets the pieces as strips of an 8-bit grey
TIFF, which leaves nothing to interpret.
"""

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO
from itertools import accumulate
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.inspection.decoding.tiff_layout import (
    BLACK_IS_ZERO,
    DEFLATE,
    OLD_DEFLATE,
    UNCOMPRESSED,
    Layout,
)
from app.inspection.errors import ImageTruncated, ImageUndecodable

PART = 1 << 16  # bytes given to zlib at once
AT_ONCE = 1 << 20  # bytes: larger pieces are unpacked some lines at a time, smaller ones together
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # fill order 2
BROKEN = (OSError, ValueError, TypeError, SyntaxError, RuntimeError)  # what Pillow raises on broken pieces
MORE = "a strip holds more than its lines, so a size is wrong; export it anew"
LACKING = "some of the strips lack a part of their lines; send the whole image"

Lines = NDArray[np.uint8]  # [lines, line_bytes]
Bytes = bytes | memoryview


class Source(Protocol):
    """The unpacked lines of some pieces; columns of tiles stand side by side, strips below each other."""

    def lines(self, column: int, first: int, last: int) -> Lines:
        """Some lines of a column; each column is read once from the top. Raises an ImageError."""


def source(data: bytes, how: Layout, plane: int, rows: range) -> Source:
    """The pieces in some rows of the grid of one plane; of tiles, in one row."""
    numbers = range((plane * how.down + rows.start) * how.across, (plane * how.down + rows.stop) * how.across)
    view = memoryview(data)
    places = zip(how.offsets[numbers].tolist(), how.counts[numbers].tolist(), strict=True)
    pieces: list[Bytes] = [view[at : at + count] for at, count in places]
    lines = (len(rows) - 1) * how.piece[1] + how.lines(rows[-1])
    whole = how.piece[1] * how.line_bytes
    if how.reversed_bits:
        pieces = [bytes(piece).translate(REVERSED) for piece in pieces]
    if how.compression in (DEFLATE, OLD_DEFLATE):
        if whole > AT_ONCE:
            return _Streams([_Stream(piece, whole) for piece in pieces], how.line_bytes, lines)
        return _Held([_inflated(piece, whole) for piece in pieces], how, lines)
    if how.compression == UNCOMPRESSED:
        return _Held([piece[:whole] for piece in pieces], how, lines)
    return _Libtiff(pieces, how, lines)


class _Held:
    """Pieces whose bytes are in memory."""

    def __init__(self, pieces: Sequence[Bytes], how: Layout, lines: int) -> None:
        whole, size = how.piece[1] * how.line_bytes, lines * how.line_bytes  # of a piece, of a column
        last = size * how.across - (len(pieces) - 1) * whole
        if any(len(piece) < whole for piece in pieces[:-1]) or len(pieces[-1]) < last:
            raise ImageTruncated(LACKING)
        columns = pieces if how.tiled or len(pieces) == 1 else [b"".join(pieces)]
        self._columns = [np.frombuffer(each, np.uint8, size).reshape(-1, how.line_bytes) for each in columns]

    def lines(self, column: int, first: int, last: int) -> Lines:
        return self._columns[column][first:last]


class _Streams:
    """Deflated pieces, one for each column."""

    def __init__(self, streams: Sequence["_Stream"], line_bytes: int, lines: int) -> None:
        self._streams, self._line_bytes, self._lines = streams, line_bytes, lines

    def lines(self, column: int, first: int, last: int) -> Lines:
        stream = self._streams[column]
        found = stream.take((last - first) * self._line_bytes)
        if last == self._lines:
            stream.finish()
        return np.frombuffer(found, np.uint8).reshape(last - first, self._line_bytes)


class _Stream:
    """One deflated piece, of at most `most` bytes, read in order."""

    def __init__(self, piece: Bytes, most: int) -> None:
        self._parts = (piece[at : at + PART] for at in range(0, len(piece), PART))
        self._rest: Bytes = b""
        self._left = most
        self._zlib = zlib.decompressobj()

    def take(self, count: int) -> bytes:
        """The next `count` bytes; raises ImageTruncated if there are fewer."""
        found = bytearray()
        while len(found) < count and (more := self._next(count - len(found))):
            found += more
        if len(found) < count:
            raise ImageTruncated(LACKING)
        self._left -= count
        return bytes(found)

    def finish(self) -> None:
        """Check that the piece ends, and was not longer than it should be."""
        while self._left > 0 and (more := self._next(min(self._left, AT_ONCE))):
            self._left -= len(more)
        if not self._zlib.eof and self._next(1):
            raise ImageUndecodable(MORE)
        if not self._zlib.eof:
            raise ImageTruncated("a strip ends before its data does; send the file whole")

    def _next(self, most: int) -> bytes:
        """Up to `most` bytes; none at the end."""
        try:
            while not self._zlib.eof:
                found = self._zlib.decompress(self._rest, most)
                self._rest = self._zlib.unconsumed_tail
                if found:
                    return found
                if not self._rest and not (part := next(self._parts, b"")):
                    break
                self._rest = self._rest or part
        except zlib.error as error:
            raise ImageUndecodable(f"a strip is damaged ({error}); export it anew") from error
        return b""


def _inflated(piece: Bytes, most: int) -> bytes:
    """A whole stream; raises an ImageError if it is cut, damaged or longer than `most` bytes."""
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(piece, most)
        more = b"" if stream.eof else stream.decompress(stream.unconsumed_tail, 1)
    except zlib.error as error:
        raise ImageUndecodable(f"a strip is damaged ({error}); export it anew") from error
    if more:
        raise ImageUndecodable(MORE)
    if not stream.eof:
        raise ImageTruncated("a strip ends before its data does; send the file whole")
    return found


class _Libtiff:
    """Pieces that libtiff unpacks, all at once, to an image with a pixel for each byte."""

    def __init__(self, pieces: Sequence[Bytes], how: Layout, lines: int) -> None:
        # a wrong size shows in every strip; only the last may be cut
        suspects = pieces[:1] if len(pieces) == 1 else (pieces[0], pieces[-1])
        more = any(_holds_more(piece, how) for piece in suspects)
        try:
            self._image = _opened(pieces, how, how.piece[1], lines * how.across)
            self._image.load()
        except BROKEN as error:
            raise ImageUndecodable(f"a strip is cut or damaged ({error}); export it anew") from error
        if more:
            raise ImageUndecodable(MORE)
        self._width, self._lines = how.line_bytes, lines

    def lines(self, column: int, first: int, last: int) -> Lines:
        top = column * self._lines
        return np.asarray(self._image.crop((0, top + first, self._width, top + last)))


def _holds_more(piece: Bytes, how: Layout) -> bool:
    """Whether a piece has data for more lines than it should."""
    lines = how.piece[1] + 1
    try:
        _opened([piece], how, lines, lines).load()
    except BROKEN:
        return False
    return True


def _opened(pieces: Sequence[Bytes], how: Layout, rows: int, lines: int) -> Image.Image:
    """The pieces as strips of an 8-bit grey TIFF, not unpacked yet."""
    offsets = list(accumulate(map(len, pieces[:-1]), initial=8))
    fields = {256: [how.line_bytes], 257: [lines], 258: [8], 259: [how.compression], 262: [BLACK_IS_ZERO]}
    fields |= {273: offsets, 277: [1], 278: [rows], 279: [len(piece) for piece in pieces]}
    return Image.open(BytesIO(_small_tiff(fields, pieces)), formats=("TIFF",))


def _small_tiff(fields: dict[int, list[int]], pieces: Sequence[Bytes]) -> bytes:
    """Write a little-endian TIFF with 32-bit fields; the pieces begin at byte 8."""
    entries, beyond, place = b"", b"", 8 + sum(map(len, pieces))
    for tag, values in fields.items():
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            packed, beyond = struct.pack("<I", place + len(beyond)), beyond + packed
        entries += struct.pack("<HHI", tag, 4, len(values)) + packed
    start = struct.pack("<4sI", b"II*\0", place + len(beyond))
    return b"".join((start, *pieces, beyond, struct.pack("<H", len(fields)), entries, bytes(4)))

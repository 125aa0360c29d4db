"""Decode TIFF files: strips or tiles in the layouts that `tiff_layout` supports.

Pillow's own TIFF reader leaves unlisted areas black, ignores byte counts, and misreads 16-bit planes,
signed and packed samples. Here Pillow is used only to decompress data that zlib cannot: libtiff gets the
compressed pieces as strips of an 8-bit grey TIFF, which leaves nothing to interpret.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.inspection.cancellation import NEVER, Cancellation
from app.inspection.decoding import tiff_layout
from app.inspection.decoding.depth import to_8_bits
from app.inspection.decoding.packed import unpack_bits
from app.inspection.decoding.tiff_directory import (
    HEIGHT,
    ORIENTATION,
    SIGNATURES,
    WIDTH,
    Directory,
    directory,
)
from app.inspection.decoding.tiff_layout import (
    BLACK_IS_ZERO,
    CHANNELS,
    CMYK,
    DEFLATE,
    DIFFERENCES,
    OLD_DEFLATE,
    PALETTE,
    UNCOMPRESSED,
    WHITE_IS_ZERO,
    Layout,
)
from app.inspection.errors import ImageTruncated, ImageUndecodable, ImageUnsupported

__all__ = ["SIGNATURES", "TiffFile", "opened"]

AT_ONCE = 1 << 20  # bytes unpacked together if pieces are smaller
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # fill order 2
OPAQUE_KINDS = (1, 2)  # kinds of extra samples that contain transparency
Samples = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class TiffFile:
    """A TIFF of which only the directories have been read."""

    data: bytes = field(repr=False)
    directory: Directory

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as stored."""
        return self.directory.size(WIDTH), self.directory.size(HEIGHT)

    @property
    def orientation(self) -> int:
        """The orientation, 1 to 8; EXIF uses the same tag."""
        return self.directory.one(ORIENTATION, 1)

    def pixels(
        self, significant_bits: int | None = None, cancellation: Cancellation = NEVER
    ) -> NDArray[np.uint8]:
        """Grey [H, W] or RGB [H, W, 3], as stored; raises an ImageError."""
        how = tiff_layout.layout(self.directory)
        samples = _samples(self.data, how)
        if how.colours is not None:
            return how.colours[samples[..., 0]]
        pixels = to_8_bits(samples, _stated(how), significant_bits if how.bits == 16 else None)
        if how.photometric == WHITE_IS_ZERO:
            pixels = ~pixels
        if how.photometric == CMYK:
            ink = Image.frombytes("CMYK", (how.width, how.height), pixels.tobytes())
            return np.asarray(ink.convert("RGB"))
        return pixels[..., 0] if pixels.shape[2] == 1 else pixels

    def values(self, cancellation: Cancellation = NEVER) -> Samples:
        """The stored samples [H, W, channels]; for a palette image, its indices; 1 bit is 0 or 255."""
        how = tiff_layout.layout(self.directory)
        samples = _samples(self.data, how)
        if how.photometric == WHITE_IS_ZERO:
            samples = samples ^ ((1 << max(8, how.bits)) - 1)
        return samples // _spread(how) if how.bits > 1 else samples


def opened(data: bytes) -> TiffFile:
    """Read the directories only; raises an ImageError unless the file is one image."""
    return TiffFile(data, directory(data))


BROKEN = (OSError, ValueError, TypeError, SyntaxError, RuntimeError)  # what Pillow raises on broken pieces
MORE = "a strip holds more than its lines, so a size is wrong; export it anew"


def _stated(how: Layout) -> int | None:
    """Significant bits stated by the file; None if not stated."""
    if how.bits != 16:
        return how.bits
    bits = how.highest.bit_length()
    return bits if 8 < bits < 16 and how.highest == (1 << bits) - 1 else None


def _samples(data: bytes, how: Layout) -> Samples:
    """The colour samples [H, W, channels], uint8 or uint16; fewer than 8 bits are scaled to 8."""
    channels = CHANNELS[how.photometric]
    out = np.empty((how.height, how.width, channels), np.uint8 if how.bits <= 8 else np.uint16)
    step = max(1, AT_ONCE // (how.across * how.line_bytes * how.piece[1]))
    for plane in range(how.planes):
        for row in range(0, how.down, step):
            top, rows = row * how.piece[1], range(row, min(row + step, how.down))
            found = _block(data, how, plane, rows)[: how.height - top, : how.width]
            _check_opacity(found, how, plane)
            colours = found[..., : max(0, channels - plane)]
            out[top : top + len(found), :, plane : plane + colours.shape[2]] = colours
    if _spread(how) > 1:
        out *= np.uint8(_spread(how))
    return out


def _spread(how: Layout) -> int:
    """The factor by which samples of fewer than 8 bits are spread over 8; 1 for indices and all others."""
    return 255 // ((1 << how.bits) - 1) if how.bits < 8 and how.photometric != PALETTE else 1


def _check_opacity(samples: Samples, how: Layout, first: int) -> None:
    """Raise ImageUnsupported for transparent pixels; the samples' numbers begin at `first`."""
    for number, kind in enumerate(how.extras, start=CHANNELS[how.photometric] - first):
        beside = samples[..., number : number + 1] if number >= 0 else samples[..., :0]
        if kind in OPAQUE_KINDS and (beside != (1 << how.bits) - 1).any():
            raise ImageUnsupported("the image has transparent pixels; send it without an alpha channel")


def _block(data: bytes, how: Layout, plane: int, rows: range) -> Samples:
    """The samples [lines, width, together] of some rows of pieces."""
    numbers = range((plane * how.down + rows.start) * how.across, (plane * how.down + rows.stop) * how.across)
    lines = (len(rows) - 1) * how.piece[1] + how.lines(rows[-1])
    raw = _unpacked(data, how, numbers, lines)
    by_piece = raw.reshape(-1, how.across, how.piece[1], how.line_bytes) if how.tiled else raw
    in_lines = by_piece.swapaxes(1, 2).reshape(lines, how.across, -1) if how.tiled else by_piece
    samples = _unpack(in_lines.reshape(lines, how.across, how.line_bytes), how)
    samples = samples.reshape(lines, how.across, how.piece[0], how.together)
    if how.predictor == DIFFERENCES:
        samples = samples.cumsum(axis=2, dtype=samples.dtype.newbyteorder("="))
    return samples.reshape(lines, -1, how.together)


def _unpack(raw: NDArray[np.uint8], how: Layout) -> Samples:
    """The samples of whole lines, each starting at a byte; packed samples have the MSB first."""
    if how.bits == 8:
        return raw
    if how.bits == 16:
        return raw.view(how.order + "u2")
    return unpack_bits(raw, how.bits, how.piece[0] * how.together)


def _unpacked(data: bytes, how: Layout, numbers: range, lines: int) -> NDArray[np.uint8]:
    """The decompressed bytes of some pieces, concatenated; `lines` lines for each column of pieces."""
    places = zip(how.offsets[numbers].tolist(), how.counts[numbers].tolist(), strict=True)
    pieces: Sequence[bytes] = [data[at : at + count] for at, count in places]
    if how.reversed_bits:
        pieces = [piece.translate(REVERSED) for piece in pieces]
    whole = how.piece[1] * how.line_bytes
    total = lines * how.across * how.line_bytes
    if how.compression in (DEFLATE, OLD_DEFLATE):
        last = total - (len(pieces) - 1) * whole
        pieces = [_inflated(piece, whole) for piece in pieces]
        if any(len(piece) < whole for piece in pieces[:-1]) or len(pieces[-1]) < last:
            raise ImageTruncated("some of the strips lack a part of their lines; send the whole image")
    elif how.compression != UNCOMPRESSED:
        return _by_libtiff(pieces, how, total // how.line_bytes)
    return np.frombuffer(b"".join(piece[:whole] for piece in pieces), np.uint8, total)


def _inflated(piece: bytes, most: int) -> bytes:
    """Inflate a stream; raises an ImageError if it is cut, damaged or longer than `most` bytes."""
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


def _by_libtiff(pieces: Sequence[bytes], how: Layout, lines: int) -> NDArray[np.uint8]:
    """Decompress pieces with libtiff; raises ImageUndecodable."""
    try:
        found = _strips(pieces, how, how.piece[1], lines)
    except BROKEN as error:
        raise ImageUndecodable(f"a strip is cut or damaged ({error}); export it anew") from error
    # a wrong size shows in every strip; only the last may be cut
    if any(_holds_more(piece, how) for piece in {pieces[0], pieces[-1]}):
        raise ImageUndecodable(MORE)
    return found


def _holds_more(piece: bytes, how: Layout) -> bool:
    """Whether a piece has data for more lines than it should."""
    lines = how.piece[1] + 1
    try:
        _strips([piece], how, lines, lines)
    except BROKEN:
        return False
    return True


def _strips(pieces: Sequence[bytes], how: Layout, rows: int, lines: int) -> NDArray[np.uint8]:
    """The bytes of `lines` lines, decompressed by libtiff as strips of an 8-bit grey TIFF."""
    offsets = list(accumulate(map(len, pieces[:-1]), initial=8))
    fields = {256: [how.line_bytes], 257: [lines], 258: [8], 259: [how.compression], 262: [BLACK_IS_ZERO]}
    fields |= {273: offsets, 277: [1], 278: [rows], 279: [len(piece) for piece in pieces]}
    return np.asarray(Image.open(BytesIO(_small_tiff(fields, b"".join(pieces))), formats=("TIFF",))).reshape(
        -1
    )


def _small_tiff(fields: dict[int, list[int]], body: bytes) -> bytes:
    """Write a little-endian TIFF with 32-bit fields; `body` begins at byte 8."""
    entries, beyond, place = b"", b"", 8 + len(body)
    for tag, values in fields.items():
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            packed, beyond = struct.pack("<I", place + len(beyond)), beyond + packed
        entries += struct.pack("<HHI", tag, 4, len(values)) + packed
    start = struct.pack("<4sI", b"II*\0", place + len(beyond))
    return b"".join((start, body, beyond, struct.pack("<H", len(fields)), entries, bytes(4)))

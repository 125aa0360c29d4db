"""Decode TIFF files: strips or tiles in the layouts that `tiff_layout` supports.

Pillow's own TIFF reader leaves unlisted areas black, ignores byte counts, and misreads 16-bit planes,
signed and packed samples.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.inspection.cancellation import NEVER, Cancellation
from app.inspection.decoding import tiff_layout
from app.inspection.decoding.depth import Levels, image_of_inks, narrowed, rgb_of_inks, to_8_bits, unpack_bits
from app.inspection.decoding.tiff_directory import (
    HEIGHT,
    ORIENTATION,
    SIGNATURES,
    WIDTH,
    Directory,
    directory,
)
from app.inspection.decoding.tiff_layout import (
    CHANNELS,
    CMYK,
    DIFFERENCES,
    PALETTE,
    UNCOMPRESSED,
    WHITE_IS_ZERO,
    Layout,
)
from app.inspection.decoding.tiff_pieces import AT_ONCE, Source, source
from app.inspection.errors import ImageUnsupported

__all__ = ["SIGNATURES", "TiffFile", "opened"]

MOST_BESIDE = 48 << 20  # bytes beside three times the image that libtiff may take
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
        _check_pieces(how)
        blocks = _Blocks(self.data, how, cancellation)
        if how.bits == 16 and not blocks.can_repeat:
            samples = _collected(blocks, how, np.uint16, lambda block: block)
            pixels = to_8_bits(samples, _stated(how), significant_bits, cancellation)
        else:
            pixels = _collected(blocks, how, np.uint8, _conversion(blocks, how, significant_bits))
        if how.photometric == WHITE_IS_ZERO:
            np.invert(pixels, out=pixels)
        if pixels.shape[2] == 4:
            return image_of_inks(pixels, cancellation)
        return pixels[..., 0] if pixels.shape[2] == 1 else pixels

    def values(self, cancellation: Cancellation = NEVER) -> Samples:
        """The stored samples [H, W, channels]; for a palette image, its indices; 1 bit is 0 or 255."""
        how = tiff_layout.layout(self.directory)
        most, scale = (1 << how.bits) - 1, 255 if how.bits == 1 and how.photometric != PALETTE else 1

        def convert(block: Samples) -> Samples:
            upright = most - block if how.photometric == WHITE_IS_ZERO else block
            return upright * upright.dtype.type(scale)

        kind = np.uint8 if how.bits <= 8 else np.uint16
        return _collected(_Blocks(self.data, how, cancellation), how, kind, convert)


def opened(data: bytes) -> TiffFile:
    """Read the directories only; raises an ImageError unless the file is one image."""
    return TiffFile(data, directory(data))


def _check_pieces(how: Layout) -> None:
    """Refuse large strips and tiles that libtiff unpacks whole, if that takes more than the image may.

    They take twice their unpacked size: libtiff has a buffer of its own.
    """
    if not how.is_by_libtiff:
        return
    band = how.across * how.piece[1] * how.line_bytes
    before = 0 if how.down * how.planes == 1 or how.bits <= 8 else 2
    pixels, channels = how.height * how.width, 1 if how.is_grey else 3
    needed = 2 * band + int(how.counts.max()) * how.across + before * pixels * channels
    if needed > 3 * pixels * channels + MOST_BESIDE:
        raise ImageUnsupported(
            f"a TIFF whose compressed strips or tiles unpack to {band} bytes at once is not read; save it "
            "with smaller ones, with Deflate or uncompressed"
        )


def _stated(how: Layout) -> int | None:
    """Significant bits stated by the file; None if not stated."""
    if how.bits != 16:
        return how.bits
    bits = how.highest.bit_length()
    return bits if 8 < bits < 16 and how.highest == (1 << bits) - 1 else None


class _Blocks:
    """The colour samples of an image in blocks of lines; iterate again to read them again."""

    def __init__(self, data: bytes, how: Layout, cancellation: Cancellation) -> None:
        self._data, self._how, self._cancellation = data, how, cancellation
        self._only: Source | None = None
        is_held = how.compression == UNCOMPRESSED or (how.down * how.planes == 1 and how.is_by_libtiff)
        # by reading little twice; inks of 16 bits would take too much memory at once
        self.can_repeat = is_held or how.photometric == CMYK

    def __iter__(self) -> Iterator[tuple[int, int, Samples]]:
        """Yield the first plane, the first line and the samples, [lines, W, channels]; checks opacity."""
        how = self._how
        channels, band = CHANNELS[how.photometric], how.across * how.line_bytes * how.piece[1]
        step = 1 if how.tiled else max(1, AT_ONCE // band)
        for plane in range(how.planes):
            for row in range(0, how.down, step):
                self._cancellation.check()
                rows = range(row, min(row + step, how.down))
                for first, found in self._lines(self._source(plane, rows), rows):
                    _check_opacity(found, how, plane)
                    if plane < channels:
                        yield plane, row * how.piece[1] + first, found[..., : channels - plane]

    def _source(self, plane: int, rows: range) -> Source:
        """The unpacked pieces; those of an image that is one piece are kept."""
        if self._how.down * self._how.planes > 1 or not self._how.is_by_libtiff:
            return source(self._data, self._how, plane, rows)
        self._only = self._only or source(self._data, self._how, plane, rows)
        return self._only

    def _lines(self, pieces: Source, rows: range) -> Iterator[tuple[int, Samples]]:
        """Yield the first line and the samples [lines, W, together] of some rows of pieces."""
        how = self._how
        top, lines = rows[0] * how.piece[1], (len(rows) - 1) * how.piece[1] + how.lines(rows[-1])
        step = max(1, AT_ONCE // (how.across * how.piece[0] * how.together * 2))
        for first in range(0, lines, step):
            self._cancellation.check()
            last = min(first + step, lines)
            columns = [pieces.lines(column, first, last) for column in range(how.across)]
            raw = columns[0][:, None] if how.across == 1 else np.stack(columns, axis=1)
            if top + first < how.height:
                yield first, _unpacked(raw, how)[: how.height - top - first, : how.width]


def _collected(
    blocks: _Blocks, how: Layout, kind: type[np.uint8 | np.uint16], convert: Callable[[Samples], Samples]
) -> NDArray[Any]:
    """All converted blocks as one array [H, W, channels]."""
    out: NDArray[Any] | None = None
    for plane, top, samples in blocks:
        block = convert(samples)
        if out is None:
            channels = CHANNELS[how.photometric] if how.planes > 1 else block.shape[2]
            out = np.empty((how.height, how.width, channels), kind)
        out[top : top + len(block), :, plane : plane + block.shape[2]] = block
    assert out is not None, "an image has lines"
    return out


def _conversion(blocks: _Blocks, how: Layout, significant_bits: int | None) -> Callable[[Samples], Samples]:
    """What makes 8-bit grey, RGB or, of separate planes, inks of a block; may read the image once."""
    colours = how.colours
    if colours is not None:
        return lambda block: colours[block[..., 0]]
    bits = how.bits
    if bits == 16:
        levels = Levels(significant_bits or _stated(how))
        for _, _, samples in blocks:
            levels.add(samples)
        bits = levels.bits()
    spread = np.uint8(_spread(how))
    if how.photometric == CMYK and how.planes == 1:
        return lambda block: rgb_of_inks(narrowed(block * spread if bits < 8 else block, bits))
    return partial(np.multiply, spread) if bits < 8 else partial(narrowed, bits=bits)


def _spread(how: Layout) -> int:
    """The factor by which samples of fewer than 8 bits are spread over 8; 1 for indices and all others."""
    return 255 // ((1 << how.bits) - 1) if how.bits < 8 and how.photometric != PALETTE else 1


def _check_opacity(samples: Samples, how: Layout, first: int) -> None:
    """Raise ImageUnsupported for transparent pixels; the samples' numbers begin at `first`."""
    for number, kind in enumerate(how.extras, start=CHANNELS[how.photometric] - first):
        beside = samples[..., number : number + 1] if number >= 0 else samples[..., :0]
        if kind in OPAQUE_KINDS and (beside != (1 << how.bits) - 1).any():
            raise ImageUnsupported("the image has transparent pixels; send it without an alpha channel")


def _unpacked(raw: NDArray[np.uint8], how: Layout) -> Samples:
    """The samples [lines, width, together] of lines of bytes [lines, across, line_bytes]."""
    samples = _unpack(raw, how).reshape(len(raw), how.across, how.piece[0], how.together)
    if how.predictor == DIFFERENCES:
        samples = samples.cumsum(axis=2, dtype=samples.dtype.newbyteorder("="))
    return samples.reshape(len(raw), -1, how.together)


def _unpack(raw: NDArray[np.uint8], how: Layout) -> Samples:
    """The samples of whole lines, each starting at a byte; packed samples have the MSB first."""
    if how.bits == 8:
        return raw
    if how.bits == 16:
        return raw.view(how.order + "u2")
    return unpack_bits(raw, how.bits, how.piece[0] * how.together)

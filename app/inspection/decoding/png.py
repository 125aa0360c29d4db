"""Decode PNG files of every colour type and depth, interlaced or not."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.inspection.cancellation import NEVER, Cancellation
from app.inspection.decoding import png_chunks, png_rows
from app.inspection.decoding.depth import has_bits, nearly_all_fit, to_8_bits
from app.inspection.decoding.png_chunks import GREY, PALETTE, RGB, SIGNATURE, Chunks, broken
from app.inspection.errors import ImageUnsupported

__all__ = ["SIGNATURE", "PngFile", "opened"]

TRANSPARENT = "the image has transparent pixels; send it without an alpha channel"
Samples = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class PngFile:
    """A PNG of which only the chunks have been read."""

    data: bytes = field(repr=False)
    chunks: Chunks

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as stored."""
        return self.chunks.width, self.chunks.height

    @property
    def orientation(self) -> int:
        """The EXIF orientation, 1 to 8."""
        return self.chunks.orientation

    def pixels(
        self, significant_bits: int | None = None, cancellation: Cancellation = NEVER
    ) -> NDArray[np.uint8]:
        """Grey [H, W] or RGB [H, W, 3], as stored; raises an ImageError."""
        palette = self._palette() if self.chunks.colour_type == PALETTE else None
        samples = self._decoded(palette, cancellation)
        if self.chunks.bits < 16:
            return np.asarray(samples, np.uint8)
        return to_8_bits(samples, self._stated_bits(samples), significant_bits, cancellation)

    def values(self, cancellation: Cancellation = NEVER) -> Samples:
        """The stored samples, unscaled; for a palette image, its indices; 1 bit is 0 or 255."""
        samples, spread = self._decoded(None, cancellation), self._spread()
        return samples // spread if 1 < spread < 255 else samples

    def _decoded(self, palette: NDArray[np.uint8] | None, cancellation: Cancellation) -> Samples:
        """The colour samples [H, W] or [H, W, 3]: the palette's colours if given, few bits scaled to 8."""
        png = self.chunks
        if png.width > png_chunks.MAX_WIDTH:
            raise ImageUnsupported(
                f"a PNG of {png.width} pixels a row is not read; at most {png_chunks.MAX_WIDTH} are"
            )
        channels = 3 if palette is not None or png.channels > 2 else 1
        out = np.empty((png.height, png.width, channels), np.uint16 if png.bits == 16 else np.uint8)
        hidden, spread = self._transparent(palette is not None), self._spread()
        for (rows, columns), block in png_rows.blocks(self.data, png, cancellation):
            self._check_opacity(block, hidden)
            if palette is not None:
                out[rows, columns] = _of_palette(block[..., 0], palette)
            else:
                colours = block[..., :channels]
                out[rows, columns] = colours * np.uint8(spread) if spread > 1 else colours
        return out[..., 0] if channels == 1 else out

    def _spread(self) -> int:
        """The factor by which grey samples of few bits are spread over 8; 1 for all others."""
        png = self.chunks
        return 255 // ((1 << png.bits) - 1) if png.colour_type == GREY and png.bits < 8 else 1

    def _content(self, kind: bytes) -> bytes:
        return self.data[slice(*self.chunks.others.get(kind, (0, 0)))]

    def _palette(self) -> NDArray[np.uint8]:
        """RGB of each index, uint8 [N, 3]."""
        content = self._content(b"PLTE")
        if not content or len(content) % 3 or len(content) > 3 * 256:
            raise broken("it has no valid palette")
        return np.frombuffer(content, np.uint8).reshape(-1, 3)

    def _transparent(self, in_colour: bool) -> NDArray[np.integer[Any]]:
        """The samples of the transparent colour, or the palette's transparent indices; often none.

        An index alone, of a mask, is not transparent.
        """
        png, content = self.chunks, self._content(b"tRNS")
        if not content or png.colour_type not in (GREY, RGB, PALETTE):
            return np.empty(0, np.uint16)
        if png.bits == 16:
            raise ImageUnsupported("the image names a transparent colour; save it without one")
        if png.colour_type == PALETTE:
            return np.flatnonzero(np.frombuffer(content, np.uint8) < 255) if in_colour else np.empty(0, int)
        colour = np.frombuffer(content[: 2 * png.channels], ">u2")
        return colour if len(colour) == png.channels else np.empty(0, np.uint16)

    def _check_opacity(self, block: Samples, hidden: NDArray[np.integer[Any]]) -> None:
        """Raise ImageUnsupported for transparent pixels."""
        png = self.chunks
        if png.channels in (2, 4):
            seen_through = bool((block[..., -1] != (1 << png.bits) - 1).any())
        elif not hidden.size:
            return
        elif png.colour_type == PALETTE:
            seen_through = bool(np.isin(block, hidden).any())
        else:
            seen_through = bool((block == hidden).all(axis=2).any())
        if seen_through:
            raise ImageUnsupported(TRANSPARENT)

    def _stated_bits(self, samples: Samples) -> int | None:
        """The significant bits, from the lowest on, of a 16-bit PNG by its sBIT chunk, or None.

        By the standard the significant bits are the high ones; the bits below repeat them or are zero. Some
        software stores them in the low bits with the same chunk. If both are possible, the standard applies.
        """
        bits = max(self._content(b"sBIT")[: 1 if samples.ndim == 2 else 3], default=0)
        if not 8 <= bits < 16:  # 16 is what encoders write by default
            return None
        if not nearly_all_fit(samples, bits):
            return 16
        return bits if has_bits(samples, (1 << (16 - bits)) - 1) else 16


def opened(data: bytes) -> PngFile:
    """Read the chunks only; raises an ImageError unless the file is one whole PNG image."""
    return PngFile(data, png_chunks.read(data))


def _of_palette(indices: Samples, palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if int(indices.max(initial=0)) >= len(palette):
        raise broken("a pixel has an index that the palette lacks")
    return palette[indices]

"""Convert samples: unpack packed ones, reduce 9 to 16 bits to 8, and CMYK to RGB.

The low bits are dropped in the same way for every image: a scale chosen per image would make scores
incomparable. The number of significant bits of a 16-bit sample must be stated: by the file, the pixel
format or the request. Everything is done for some rows at a time, to bound the memory.
"""

from collections.abc import Iterator
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.inspection.cancellation import NEVER, Cancellation
from app.inspection.errors import FrameMismatch, ImageUnsupported

CAMERA_BITS = (8, 9, 10, 11, 12, 13, 14)  # significant bits of cameras that do not use all 16
BRIGHT_ONES = 1000  # one sample in 1000 may exceed the others: hot pixels
FULL_SCALE = 65_535
AT_ONCE = 1 << 20  # samples

Samples = NDArray[np.integer[Any]]


class Levels:
    """What the values of a 16-bit image say of its significant bits; `stated` is their number if it is known.

    Add all blocks of the image, then ask for `bits`.
    """

    def __init__(self, stated: int | None) -> None:
        self._stated = stated
        self._most = (1 << (stated or 16)) - 1
        self._count = self._above = self._highest = 0
        self._has_others = False
        self._high_bytes = np.zeros(256, np.int64)

    def add(self, block: Samples) -> None:
        """Count the values of a block."""
        self._count += block.size
        if self._stated is None:
            self._high_bytes += np.bincount((block >> 8).ravel(), minlength=256)
            return
        self._highest = max(self._highest, int(block.max(initial=0)))
        if self._highest > self._most:
            beyond = block > self._most
            self._above += int(np.count_nonzero(beyond))
            self._has_others |= bool((block[beyond] != FULL_SCALE).any())

    def bits(self) -> int:
        """The number of bits, of which 8 are kept; raises as `to_8_bits`."""
        few = self._count // BRIGHT_ONES
        if self._stated is None:
            self._refuse_unlikely(self._count - few)
            return 16
        if self._has_others or self._above > few:
            raise FrameMismatch(
                f"the image holds {self._highest}, but {self._stated} bits go up to {self._most}: give the "
                "depth it has"
            )
        return self._stated

    def _refuse_unlikely(self, fewest: int) -> None:
        """Raise ImageUnsupported if at least `fewest` values fit into 14 bits or fewer."""
        below = self._high_bytes.cumsum()
        bits = next((n for n in CAMERA_BITS if below[(1 << (n - 8)) - 1] >= fewest), None)
        if bits is not None:
            raise ImageUnsupported(
                f"99.9 % of the 16-bit image's values are below {1 << bits}: it looks like {bits} bits in "
                f"16, or is dark, and nothing says which; send significant_bits={bits}, or what the camera "
                "gives, or 16 if the full range is used"
            )


def to_8_bits(
    samples: Samples,
    stated: int | None = None,
    asked: int | None = None,
    cancellation: Cancellation = NEVER,
) -> NDArray[np.uint8]:
    """The high 8 of the significant bits, as uint8; uint8 samples are returned unchanged.

    `asked` is the number of bits in the request; it overrides `stated`, that of the file. A few samples of
    65,535 are clipped. Raises FrameMismatch if any other value has more bits, and ImageUnsupported if the
    number is not stated and 16 are unlikely; also the error of `cancellation`.
    """
    if samples.dtype == np.uint8:
        return np.asarray(samples, np.uint8)
    levels = Levels(asked or stated)
    for rows in blocks(samples, cancellation):
        levels.add(samples[rows])
    bits, out = levels.bits(), np.empty(samples.shape, np.uint8)
    for rows in blocks(samples, cancellation):
        out[rows] = narrowed(samples[rows], bits)
    return out


def narrowed(block: Samples, bits: int) -> NDArray[np.uint8]:
    """The high 8 of `bits` significant bits; larger values are clipped."""
    if block.dtype == np.uint8:
        return np.asarray(block, np.uint8)
    clipped = block if bits == 16 else np.minimum(block, (1 << bits) - 1)
    out = np.empty(block.shape, np.uint8)
    np.right_shift(clipped, bits - 8, out=out, casting="unsafe")
    return out


def blocks(samples: NDArray[Any], cancellation: Cancellation = NEVER) -> Iterator[slice]:
    """Yield blocks of the first axis, of about AT_ONCE samples; raises the error of `cancellation`."""
    step = max(1, AT_ONCE * len(samples) // max(1, samples.size))
    for start in range(0, len(samples), step):
        cancellation.check()
        yield slice(start, start + step)


def nearly_all_fit(samples: Samples, bits: int) -> bool:
    """Whether all but a few samples, such as hot pixels, fit into `bits` bits."""
    above = sum(int(np.count_nonzero(samples[rows] >= 1 << bits)) for rows in blocks(samples))
    return above <= samples.size // BRIGHT_ONES


def has_bits(samples: Samples, bits: int) -> bool:
    """Whether any sample has one of these bits set."""
    return any(bool((samples[rows] & bits).any()) for rows in blocks(samples))


def unpack_bits(raw: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.integer[Any]]:
    """Unpack `count` samples of `bits` bits, most significant bit first, along the last axis."""
    if 8 % bits == 0:  # samples never cross bytes
        shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
        fine = raw[..., None] >> shifts & np.uint8((1 << bits) - 1)
        return fine.reshape(*raw.shape[:-1], -1)[..., :count]
    together = 8 // gcd(bits, 8)  # samples per group of whole bytes
    size, groups = bits * together // 8, -(-count // together)
    filled = np.zeros((*raw.shape[:-1], groups * size + 2), np.uint8)
    filled[..., : raw.shape[-1]] = raw[..., : groups * size]
    out = np.empty((*raw.shape[:-1], groups * together), np.uint8 if bits <= 8 else np.uint16)
    for n in range(together):
        at, shift = divmod(n * bits, 8)
        three = [filled[..., at + k :: size][..., :groups].astype(np.uint32) for k in range(3)]
        wide = three[0] << 16 | three[1] << 8 | three[2]
        out[..., n::together] = wide >> (24 - bits - shift) & ((1 << bits) - 1)
    return out[..., :count]


def rgb_of_inks(inks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB of some rows of inks, uint8 [H, W, 4], 255 being full ink, without a colour profile."""
    height, width = inks.shape[:2]
    block = Image.frombuffer("CMYK", (width, height), np.ascontiguousarray(inks), "raw", "CMYK", 0, 1)
    return np.asarray(block.convert("RGB"))


def image_of_inks(
    inks: NDArray[np.uint8], cancellation: Cancellation, *, inverted: bool = False
) -> NDArray[np.uint8]:
    """As `rgb_of_inks`, for a whole image; with `inverted`, 0 is full ink."""
    out = np.empty((*inks.shape[:2], 3), np.uint8)
    for rows in blocks(inks, cancellation):
        out[rows] = rgb_of_inks(~inks[rows] if inverted else inks[rows])
    return out

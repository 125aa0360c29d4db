"""Reduce samples of 9 to 16 bits to 8 bits.

The low bits are dropped in the same way for every image: a scale chosen per image would make scores
incomparable. The number of significant bits of a 16-bit sample must be stated: by the file, the pixel
format or the request. Everything is done for some rows at a time, to bound the memory.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.inspection.cancellation import NEVER, Cancellation
from app.inspection.errors import FrameMismatch, ImageUnsupported

CAMERA_BITS = (8, 9, 10, 11, 12, 13, 14)  # significant bits of cameras that do not use all 16
BRIGHT_ONES = 1000  # one sample in 1000 may exceed the others: hot pixels
FULL_SCALE = 65_535
AT_ONCE = 1 << 20  # samples

Samples = NDArray[np.integer[Any]]


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
    bits = significant_bits(samples, asked or stated, cancellation)
    most = (1 << bits) - 1
    out = np.empty(samples.shape, np.uint8)
    for rows in blocks(samples, cancellation):
        block = samples[rows] if bits == 16 else np.minimum(samples[rows], most)
        np.right_shift(block, bits - 8, out=out[rows], casting="unsafe")
    return out


def significant_bits(samples: Samples, bits: int | None, cancellation: Cancellation = NEVER) -> int:
    """The number of bits to keep 8 of, `bits` if stated; raises as `to_8_bits`."""
    if bits is None:
        _refuse_unlikely(samples, cancellation)
        return 16
    highest = int(samples.max(initial=0))
    if highest >> bits:
        _check_marked(samples, bits, highest)
    return bits


def blocks(samples: NDArray[Any], cancellation: Cancellation = NEVER) -> Iterator[slice]:
    """Yield blocks of the first axis, of about AT_ONCE samples; raises the error of `cancellation`."""
    step = max(1, AT_ONCE * len(samples) // max(1, samples.size))
    for start in range(0, len(samples), step):
        cancellation.check()
        yield slice(start, start + step)


def _check_marked(samples: Samples, bits: int, highest: int) -> None:
    """Check that only few samples have more bits, all ones: hot pixels, or saturated ones.

    Raises FrameMismatch where there are many of them, or where any other value has more than `bits` bits.
    """
    most = (1 << bits) - 1
    others = ((samples[rows] > most) & (samples[rows] != FULL_SCALE) for rows in blocks(samples))
    if not nearly_all_fit(samples, bits) or any(each.any() for each in others):
        raise FrameMismatch(
            f"the image holds {highest}, but {bits} bits go up to {most}: give the depth it has"
        )


def nearly_all_fit(samples: Samples, bits: int) -> bool:
    """Whether all but a few samples, such as hot pixels, fit into `bits` bits."""
    above = sum(int(np.count_nonzero(samples[rows] >= 1 << bits)) for rows in blocks(samples))
    return above <= samples.size // BRIGHT_ONES


def has_bits(samples: Samples, bits: int) -> bool:
    """Whether any sample has one of these bits set."""
    return any(bool((samples[rows] & bits).any()) for rows in blocks(samples))


def _refuse_unlikely(samples: Samples, cancellation: Cancellation) -> None:
    """Raise ImageUnsupported unless more than a few samples need 15 or 16 bits."""
    levels = np.zeros(256, np.int64)
    for rows in blocks(samples, cancellation):
        levels += np.bincount((samples[rows] >> 8).ravel(), minlength=256)
    fewest = samples.size - samples.size // BRIGHT_ONES  # that must fit
    bits = next((n for n in CAMERA_BITS if levels[: 1 << (n - 8)].sum() >= fewest), None)
    if bits is not None:
        raise ImageUnsupported(
            f"99.9 % of the 16-bit image's values are below {1 << bits}: it looks like {bits} bits in 16, or "
            f"is dark, and nothing says which; send significant_bits={bits}, or what the camera gives, or 16 "
            "if the full range is used"
        )

"""Reduce samples of 9 to 16 bits to 8 bits.

The low bits are dropped in the same way for every image: a scale chosen per image would make scores
incomparable. The number of significant bits of a 16-bit sample must be stated: by the file, the pixel
format or the request.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.inspection.errors import FrameMismatch, ImageUnsupported

CAMERA_BITS = (8, 9, 10, 11, 12, 13, 14)  # significant bits of cameras that do not use all 16
BRIGHT_ONES = 1000  # one sample in 1000 may exceed the others: hot pixels
FULL_SCALE = 65_535


def to_8_bits(
    samples: NDArray[np.integer[Any]], stated: int | None = None, asked: int | None = None
) -> NDArray[np.uint8]:
    """The high 8 of the significant bits, as uint8; uint8 samples are returned unchanged.

    `asked` is the number of bits in the request; it overrides `stated`, that of the file. A few samples of
    65,535 are clipped. Raises FrameMismatch if any other value has more bits, and ImageUnsupported if the
    number is not stated and 16 are unlikely.
    """
    if samples.dtype == np.uint8:
        return np.asarray(samples, np.uint8)
    bits = asked or stated
    if bits is None:
        _refuse_unlikely(samples)
        bits = 16
    highest = int(samples.max(initial=0))
    if highest >> bits:
        samples = _without_marked(samples, bits, highest)
    out = np.empty(samples.shape, np.uint8)
    np.right_shift(samples, bits - 8, out=out, casting="unsafe")
    return out


def _without_marked(samples: NDArray[np.integer[Any]], bits: int, highest: int) -> NDArray[np.integer[Any]]:
    """Clip the few samples that a camera sets to all ones: hot or saturated pixels.

    Raises FrameMismatch where there are many of them, or where any other value has more than `bits` bits.
    """
    most = (1 << bits) - 1
    marked = samples == FULL_SCALE
    if not nearly_all_fit(samples, bits) or (samples[~marked] > most).any():
        raise FrameMismatch(
            f"the image holds {highest}, but {bits} bits go up to {most}: give the depth it has"
        )
    clipped: NDArray[np.integer[Any]] = np.minimum(samples, most)
    return clipped


def nearly_all_fit(samples: NDArray[np.integer[Any]], bits: int) -> bool:
    """Whether all but a few samples, such as hot pixels, fit into `bits` bits."""
    return int(np.count_nonzero(samples >= 1 << bits)) <= samples.size // BRIGHT_ONES


def _refuse_unlikely(samples: NDArray[np.integer[Any]]) -> None:
    """Raise ImageUnsupported unless more than a few samples need 15 or 16 bits."""
    bits = next((n for n in CAMERA_BITS if nearly_all_fit(samples, n)), None)
    if bits is not None:
        raise ImageUnsupported(
            f"99.9 % of the 16-bit image's values are below {1 << bits}: it looks like {bits} bits in 16, or "
            f"is dark, and nothing says which; send significant_bits={bits}, or what the camera gives, or 16 "
            "if the full range is used"
        )

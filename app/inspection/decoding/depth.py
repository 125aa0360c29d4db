"""From 10 to 16 bits a sample to 8.

Low bits are dropped, for every image alike: a scale chosen per image would make scores incomparable. How many
bits of a 16-bit sample are significant must be told: by the file, the pixel format's name, or the sender.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.inspection.errors import FrameMismatch, ImageUnsupported

CAMERA_BITS = (8, 9, 10, 11, 12, 13, 14)  # of those that do not use all 16
FULL_SCALE = 65_535
BRIGHT_ONES = 1000  # one sample in so many may be above what the others reach: hot pixels


def to_8_bits(
    samples: NDArray[np.integer[Any]], stated: int | None = None, asked: int | None = None
) -> NDArray[np.uint8]:
    """The high 8 of the significant bits; samples that are uint8 stay as they are.

    `asked` is what the sender says and comes before `stated`, what the file says. A few samples of 65,535 are
    clipped. Raises FrameMismatch where any other value has more bits, and ImageUnsupported where nothing says
    how many there are and 16 are unlikely.
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
    return np.minimum(samples, most)


def nearly_all_fit(samples: NDArray[np.integer[Any]], bits: int) -> bool:
    """Whether so many bits hold all samples but a few: hot pixels, say."""
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

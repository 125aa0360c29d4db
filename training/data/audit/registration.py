"""Registration of two working images: the orientation and shift of highest correlation."""

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from training.data.audit.signatures import STEPS_PER_CONTRAST, Working

TURNS = 8  # 0 to 3: quarter turns anticlockwise; 4 to 7: the same, then mirrored left to right
MIN_OVERLAP = 0.7  # share of the smaller height, and of the smaller width
BLOCK_PX = 12  # side, in working px, of the blocks that are correlated one by one
# Shares of the full local contrast. A block counts if it reaches FAINT in both images or STRONG in one.
# Noise alone must not count: a block that is blank in a clean image may be noisy in its copy.
FAINT, STRONG = 0.2, 0.6

# Parts of one design (solar cells, circuit boards) agree only along the lines they share, yet their
# correlation can reach 0.9. Two images of the same surface agree nearly everywhere.
MIN_CORRELATION = 0.6
MIN_AGREEMENT = 0.5
MIN_DETAIL = 0.4  # with detail in fewer blocks, a few edges may match by chance: be stricter
PLAIN_MIN_CORRELATION = 0.9
PLAIN_MIN_AGREEMENT = 0.85

Field = NDArray[np.float32]
_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True)
class Registration:
    """Position of the second image on the first, after rotation and scaling.

    `shift` is the position of its top left corner, (down, right) in working px. `overlap` is the shared
    area as a share of the larger image, `correlation` the normalised cross-correlation in it, -1 to 1.
    `detail` is the share of its blocks that have texture, `agreement` the 10 % quantile of their
    correlations.
    """

    turn: int
    scale: float
    shift: tuple[int, int]
    overlap: float
    correlation: float
    agreement: float
    detail: float

    @property
    def same_surface(self) -> bool:
        """Whether the two images show the same surface."""
        if self.detail >= MIN_DETAIL:
            return self.correlation >= MIN_CORRELATION and self.agreement >= MIN_AGREEMENT
        return self.correlation >= PLAIN_MIN_CORRELATION and self.agreement >= PLAIN_MIN_AGREEMENT


def turned(array: NDArray[_Scalar], turn: int) -> NDArray[_Scalar]:
    """Turn an image [h, w] (or a centred spectrum) by one of the 8 symmetries of the square."""
    rotated = np.rot90(array, turn % 4)
    return np.fliplr(rotated) if turn >= 4 else rotated


def register(first: Working, second: Working, turn: int, scale: float = 1.0) -> Registration:
    """Register the second image on the first in orientation `turn` and at `scale`, by cross-correlation.

    Only shifts that leave an overlap of at least MIN_OVERLAP of each side are allowed.
    """
    a, b = first.astype(np.float32), turned(second, turn).astype(np.float32)
    if scale != 1.0:
        b = np.asarray(cv2.resize(b, None, fx=scale, fy=scale), np.float32)
    size = tuple(_padded(*sides) for sides in zip(a.shape, b.shape, strict=True))
    surface = fft.irfft2(fft.rfft2(a, size) * np.conj(fft.rfft2(b, size)), size)
    for axis, sides in enumerate(zip(a.shape, b.shape, strict=True)):
        surface *= np.expand_dims(_per_overlap(*sides, size[axis]), 1 - axis)
    place = np.unravel_index(int(surface.argmax()), size)
    down, right = (int(s) if s < n else int(s) - p for s, n, p in zip(place, a.shape, size, strict=True))
    common_a = a[max(0, down) : b.shape[0] + down, max(0, right) : b.shape[1] + right]
    common_b = b[max(0, -down) :, max(0, -right) :][: common_a.shape[0], : common_a.shape[1]]
    overlap = common_a.size / max(a.size, b.size)
    agreement, detail = _agreement(common_a, common_b)
    correlation = _correlation(common_a, common_b)
    return Registration(turn, scale, (down, right), overlap, correlation, agreement, detail)


def _padded(first: int, second: int) -> int:
    """FFT length at which no allowed shift wraps around."""
    return int(fft.next_fast_len(first + second - int(MIN_OVERLAP * min(first, second)), real=True))


def _per_overlap(first: int, second: int, padded: int) -> Field:
    """1 / overlap for each shift along one axis, 0 for a shift whose overlap is too small."""
    shifts = np.arange(padded)
    shifts = np.where(shifts < first, shifts, shifts - padded)
    overlap = np.minimum(first, second + shifts) - np.maximum(0, shifts)
    allowed = overlap >= MIN_OVERLAP * min(first, second)
    return np.where(allowed, 1 / np.maximum(overlap, 1), 0).astype(np.float32)


def _correlation(a: Field, b: Field) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm else 0.0


def _agreement(a: Field, b: Field) -> tuple[float, float]:
    """10 % quantile of the correlations of blocks with detail, and the share of such blocks."""
    mean_a, mean_b = _block_means(a), _block_means(b)
    variance_a = np.maximum(_block_means(a * a) - mean_a**2, 0)
    variance_b = np.maximum(_block_means(b * b) - mean_b**2, 0)
    faint, strong = ((contrast * STEPS_PER_CONTRAST) ** 2 for contrast in (FAINT, STRONG))
    detailed = (np.minimum(variance_a, variance_b) >= faint) | (np.maximum(variance_a, variance_b) >= strong)
    if not detailed.any():
        return 0.0, 0.0
    correlations = (_block_means(a * b) - mean_a * mean_b) / (np.sqrt(variance_a * variance_b) + 1)
    return float(np.quantile(correlations[detailed], 0.1)), float(detailed.mean())


def _block_means(field: Field) -> Field:
    means = cv2.blur(field, (BLOCK_PX, BLOCK_PX), borderType=cv2.BORDER_REFLECT)
    start = [
        min(BLOCK_PX // 2, (side - 1) // 2) for side in field.shape
    ]  # also for an image smaller than a block
    return np.asarray(means[start[0] :: BLOCK_PX, start[1] :: BLOCK_PX], np.float32)

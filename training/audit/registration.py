"""Laying one working picture over another: the turn and shift at which they agree most, and how much."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from training.audit.signatures import Working

TURNS = 8  # 0 to 3: quarter turns against the clock; 4 to 7: the same, then mirrored left to right
MIN_OVERLAP = 0.7  # of the shorter of the two heights, and of the two widths

Field = NDArray[np.float32]
_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True)
class Registration:
    """How a second picture lies on the first once turned.

    `shift` is that of its corner, down and right, in working px; `overlap` the shared area in shares of the
    larger picture; `correlation` the normalised cross-correlation there, -1 to 1.
    """

    turn: int
    shift: tuple[int, int]
    overlap: float
    correlation: float


def turned(array: NDArray[_Scalar], turn: int) -> NDArray[_Scalar]:
    """Turn a picture [h, w] (or a centred spectrum) by one of the 8 symmetries of the square."""
    rotated = np.rot90(array, turn % 4)
    return np.fliplr(rotated) if turn >= 4 else rotated


def register(first: Working, second: Working, turn: int) -> Registration:
    """Turn the second picture and shift it to where both agree most over at least MIN_OVERLAP a side."""
    a, b = first.astype(np.float32), turned(second, turn).astype(np.float32)
    size = tuple(_padded(*sides) for sides in zip(a.shape, b.shape, strict=True))
    surface = fft.irfft2(fft.rfft2(a, size) * np.conj(fft.rfft2(b, size)), size)
    for axis, sides in enumerate(zip(a.shape, b.shape, strict=True)):
        surface *= np.expand_dims(_per_overlap(*sides, size[axis]), 1 - axis)
    place = np.unravel_index(int(surface.argmax()), size)
    down, right = (int(s) if s < n else int(s) - p for s, n, p in zip(place, a.shape, size, strict=True))
    common_a = a[max(0, down) : b.shape[0] + down, max(0, right) : b.shape[1] + right]
    common_b = b[max(0, -down) :, max(0, -right) :][: common_a.shape[0], : common_a.shape[1]]
    overlap = common_a.size / max(a.size, b.size)
    return Registration(turn, (down, right), overlap, _correlation(common_a, common_b))


def _padded(first: int, second: int) -> int:
    """A length at which no allowed shift wraps around."""
    return int(fft.next_fast_len(first + second - int(MIN_OVERLAP * min(first, second)), real=True))


def _per_overlap(first: int, second: int, padded: int) -> Field:
    """1 / overlap for each shift along one side, 0 where the overlap is too small."""
    shifts = np.arange(padded)
    shifts = np.where(shifts < first, shifts, shifts - padded)
    overlap = np.minimum(first, second + shifts) - np.maximum(0, shifts)
    allowed = overlap >= MIN_OVERLAP * min(first, second)
    return np.where(allowed, 1 / np.maximum(overlap, 1), 0).astype(np.float32)


def _correlation(a: Field, b: Field) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm else 0.0

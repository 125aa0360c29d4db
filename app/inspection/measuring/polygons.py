"""Polygons drawn to pixels, one bit each, and a bounded store of those drawn before."""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from threading import Lock

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int]
Check = Callable[[], None]

WORD = 64  # pixels of a row in one word
SIDES_AT_ONCE = 64  # sides drawn between two calls of `check`
MAX_BYTES = 64 * 1024 * 1024  # of all drawings that a service keeps


@dataclass(frozen=True, slots=True, eq=False)
class BitMask:
    """Pixels of an image that is `width` px wide: one bit each, for the rows from `top` on.

    `words` is uint64 [rows, ceil(width / 64)]; the lowest bit of the first word is column 0. Rows above and
    below have no pixel.
    """

    top: int
    width: int
    words: NDArray[np.uint64]

    @property
    def rows(self) -> slice:
        """The rows that can have pixels."""
        return slice(self.top, self.top + len(self.words))

    def any(self) -> bool:
        """Whether there is a pixel."""
        return bool(self.words.any())

    def pixels(self, top: int, bottom: int) -> NDArray[np.bool_]:
        """Its rows from `top` up to `bottom`, which must lie in `rows`, as bool [bottom - top, width]."""
        words = np.ascontiguousarray(self.words[top - self.top : bottom - self.top], dtype="<u8")
        bits = np.unpackbits(words.view(np.uint8), axis=1, count=self.width, bitorder="little")
        return bits.view(np.bool_)


def full(shape: Shape, inside: bool) -> BitMask:
    """A mask of an image (H, W) with all pixels, or with none."""
    height, width = shape
    words = np.zeros((height, -(-width // WORD)), np.uint64)
    if inside:
        words[:] = ~np.uint64(0)
        if width % WORD:  # no pixel lies beyond the width
            words[:, -1] = (np.uint64(1) << np.uint64(width % WORD)) - np.uint64(1)
    return BitMask(0, width, words)


def draw(corners: NDArray[np.float64], shape: Shape, check: Check = lambda: None) -> BitMask:
    """The pixels of an image (H, W) whose centres lie inside a polygon of corners [N, 2] (x, y in px).

    Inside follows the even-odd rule. A centre on a side belongs to the polygon to its right or below it,
    so polygons with a common side share no pixel and leave none out. `check` is called before the first
    of every SIDES_AT_ONCE sides.
    """
    height, width = shape
    first, last = (_clipped(float(y), height) for y in (corners[:, 1].min(), corners[:, 1].max()))
    words = np.zeros((last - first, width // WORD + 1), np.uint64)  # one more bit: crossings at the right
    for number, ((x, y), (to_x, to_y)) in enumerate(pairwise([*corners.tolist(), corners[0].tolist()])):
        if number % SIDES_AT_ONCE == 0:
            check()
        top, bottom = sorted((y, to_y))
        rows = np.arange(_clipped(top, height), _clipped(bottom, height))
        if len(rows):  # a side crosses a row once
            at = x + (rows - y) * (to_x - x) / (to_y - y)  # multiply first: the side may be nearly level
            columns = np.clip(np.ceil(at), 0, width).astype(np.uint64)
            place = rows - first, (columns // WORD).astype(np.intp)
            words[place] ^= np.uint64(1) << columns % np.uint64(WORD)
    _fill(words)
    return BitMask(first, width, np.ascontiguousarray(words[:, : -(-width // WORD)]))


def _fill(words: NDArray[np.uint64]) -> None:
    """Replace each bit by the parity of itself and all bits before it in its row, in place."""
    for shift in (1, 2, 4, 8, 16, 32):
        words ^= words << np.uint64(shift)
    odd = (words >> np.uint64(WORD - 1)).astype(np.uint8)
    before = np.bitwise_xor.accumulate(odd, axis=1)[:, :-1]
    words[:, 1:] ^= np.uint64(0) - before  # all bits, where an odd number of crossings lies before the word


def _clipped(y: float, height: int) -> int:
    """The first row at or below y, clipped to the image."""
    return min(max(math.ceil(y), 0), height)


class Drawings:
    """Polygons drawn before, the least recently used dropped first; threads may share it.

    A drawing depends on corners and image size alone, never on a request. One that is larger than
    `max_bytes` is not kept.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[tuple[Shape, bytes], BitMask] = OrderedDict()
        self._lock = Lock()
        self.nbytes = 0

    def draw(self, corners: NDArray[np.float64], shape: Shape, check: Check = lambda: None) -> BitMask:
        """As `polygons.draw`; the mask cannot be written to."""
        key = shape, corners.tobytes()
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
        if kept is not None:
            check()
            return kept
        drawn = draw(corners, shape, check)  # outside of the lock: two threads may draw the same
        drawn.words.flags.writeable = False
        size = drawn.words.nbytes + len(key[1])
        with self._lock:
            if key not in self._kept and size <= self._max_bytes:
                self._kept[key] = drawn
                self.nbytes += size
            while self.nbytes > self._max_bytes:
                (_, oldest), dropped = self._kept.popitem(last=False)
                self.nbytes -= dropped.words.nbytes + len(oldest)
        return drawn

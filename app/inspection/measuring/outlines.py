"""Sub-pixel outlines, interpolated from the probabilities at a mask's edge."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Marching squares: the sides of a cell of 2 x 2 pixels where the outline enters and leaves, with the
# defect on its right. The key is the sum of 1, 2, 4, 8 for the corners inside, clockwise from the top
# left. Opposite corners are connected, as in 8-connected regions.
TOP, RIGHT, BOTTOM, LEFT = range(4)
CROSSINGS: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((TOP, LEFT),),
    2: ((RIGHT, TOP),),
    3: ((RIGHT, LEFT),),
    4: ((BOTTOM, RIGHT),),
    5: ((TOP, RIGHT), (BOTTOM, LEFT)),
    6: ((BOTTOM, TOP),),
    7: ((BOTTOM, LEFT),),
    8: ((LEFT, BOTTOM),),
    9: ((TOP, BOTTOM),),
    10: ((LEFT, TOP), (RIGHT, BOTTOM)),
    11: ((RIGHT, BOTTOM),),
    12: ((LEFT, RIGHT),),
    13: ((TOP, RIGHT),),
    14: ((LEFT, TOP),),
}


def outlines(
    probability: NDArray[np.uint8], mask: NDArray[np.bool_], pixel_threshold: float
) -> tuple[Floats, ...]:
    """The closed outlines of a mask [H, W], where the interpolated probability crosses the threshold.

    `probability` is uint8 [H, W] of the mask's class. Each outline is float64 [N, 2] of (x, y) in px,
    (0, 0) being the centre of the first pixel. Outer outlines run clockwise as seen on the image, those
    of holes counter-clockwise. Exactly the mask's pixels have their centres inside: where the
    probability disagrees with the mask, it is set just at or just below the threshold. Marching squares:
    Lorensen, Cline, "Marching cubes", SIGGRAPH 1987, in two dimensions.
    """
    level = max(1, math.ceil(pixel_threshold * 255 - 1e-6))
    chance = probability.astype(float)
    above = np.where(mask, np.maximum(chance, level), np.minimum(chance, level - 1)) - (level - 0.5)
    above = np.pad(above, 1, constant_values=0.5 - level)
    start, end = _crossings(above > 0)
    if not len(start):
        return ()
    points = _points(above, start) - 1  # for the frame
    order = np.argsort(start)
    following = order[np.searchsorted(start[order], end)].tolist()
    return tuple(points[each] for each in _loops(following))


def enclosed_area(found: Sequence[Floats]) -> float:
    """The area in px2 inside outlines, minus their holes, by the shoelace formula."""
    area = 0.0
    for points in found:
        (x, y), (next_x, next_y) = points.T, np.roll(points, -1, axis=0).T
        area += float((x * next_y - next_x * y).sum()) / 2
    return area


def _crossings(within: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Start and end of each piece of outline, as numbers of pixel pairs.

    Pair 2 p is pixel p, in raster order, with its right neighbour; pair 2 p + 1 is p with the one below.
    """
    width = within.shape[1]
    a, b, c, d = within[:-1, :-1], within[:-1, 1:], within[1:, 1:], within[1:, :-1]
    cases = a + 2 * b.astype(np.uint8) + 4 * c.astype(np.uint8) + 8 * d.astype(np.uint8)
    rows, columns = np.nonzero((cases > 0) & (cases < 15))
    cell, case = rows * width + columns, cases[rows, columns]
    pair = {TOP: 2 * cell, RIGHT: 2 * cell + 3, BOTTOM: 2 * (cell + width), LEFT: 2 * cell + 1}
    starts, ends = [], []
    for value, crossings in CROSSINGS.items():
        of = case == value
        for side, other in crossings:
            starts.append(pair[side][of])
            ends.append(pair[other][of])
    return np.concatenate(starts), np.concatenate(ends)


def _points(above: Floats, pairs: Ints) -> Floats:
    """The (x, y) between the two pixels of each pair where `above`, interpolated, is 0."""
    pixel, down = np.divmod(pairs, 2)
    row, column = np.divmod(pixel, above.shape[1])
    here, there = above[row, column], above[row + down, column + 1 - down]
    way = here / (here - there)
    return np.stack((column + way * (1 - down), row + way * down), axis=1)


def _loops(following: list[int]) -> list[list[int]]:
    """The cycles of a permutation."""
    left = set(range(len(following)))
    found = []
    while left:
        round_trip, at = [], next(iter(left))
        while at in left:
            left.remove(at)
            round_trip.append(at)
            at = following[at]
        found.append(round_trip)
    return found

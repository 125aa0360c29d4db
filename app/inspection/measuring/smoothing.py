"""Paths of pixels smoothed, so that their length is that of the line they stand for."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SHARP_TURN = 0.3  # the cosine of a turn (73 degrees) that is a corner, and not the steps of pixels
SMOOTHING = 3  # px of the skeleton to either side
TURN_REACH = 5  # px of the skeleton: how far from a point its turn is looked at


def smooth(points: Floats) -> Floats:
    """Take the steps of pixels out of a path [N, 2], leaving its ends and sharp turns where they are.

    Moving means shorten a curve of radius R by their variance over 2 R^2; what they took away, smoothed in
    turn and put back, restores that (twicing: Tukey, Exploratory Data Analysis, 1977).
    """
    bounds = [0, *_sharp_turns(points), len(points) - 1]
    pieces = [_twiced(points[start : end + 1])[:-1] for start, end in pairwise(bounds)]
    return np.concatenate((*pieces, points[-1:]))


def _twiced(points: Floats) -> Floats:
    means = _moving_means(points)
    return means + _moving_means(points - means)


def _sharp_turns(points: Floats) -> list[int]:
    """Where the way to the point TURN_REACH before and the way to that after it are SHARP_TURN apart or less.

    The sharpest of those that are near each other.
    """
    if len(points) <= 2 * TURN_REACH:
        return []
    steps = points[TURN_REACH:] - points[:-TURN_REACH]
    steps = steps / np.hypot(*steps.T)[:, None]
    straight = (steps[:-TURN_REACH] * steps[TURN_REACH:]).sum(axis=1)  # the cosine of the turn
    found: list[int] = []
    for i in np.argsort(straight, kind="stable").tolist():
        if straight[i] > SHARP_TURN:
            break
        if all(abs(i + TURN_REACH - other) > TURN_REACH for other in found):
            found.append(i + TURN_REACH)
    return sorted(found)


def _moving_means(points: Floats) -> Floats:
    """The means of up to SMOOTHING points to either side, mirrored through the ends."""
    n = min(SMOOTHING, len(points) - 1)
    if n < 1:
        return points
    before, after = 2 * points[0] - points[n:0:-1], 2 * points[-1] - points[-2 : -n - 2 : -1]
    sums = np.cumsum(np.concatenate((points[:1] * 0, before, points, after)), axis=0)
    return np.asarray((sums[2 * n + 1 :] - sums[: -2 * n - 1]) / (2 * n + 1))

"""From probability maps to a label map, by the operating point in force."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.artifact import OperatingPoint
from app.inspection.planes import zero_planes
from app.inspection.runs import BAND_PX, Runs, find_runs, labels_of

RUNS_AT_ONCE = 1 << 16  # of those wiped out, to bound the memory


class Marks:
    """What judging needs of all classes' levels, taken part by part: two planes, however many classes.

    `highest` is each pixel's highest level, uint8 [H, W], `label_map` its class where that reaches the pixel
    threshold. Where nothing but zeros comes, neither takes memory.
    """

    def __init__(self, shape: tuple[int, int], point: OperatingPoint) -> None:
        self.highest = zero_planes(*shape)
        self.label_map = zero_planes(*shape)
        self._point = point
        self._below = pixel_level(point) - 1

    def add(self, k: int, place: tuple[slice, slice], levels: NDArray[np.uint8]) -> None:
        """Take the k-th class's levels in some rows and columns, uint8 [h, w]; classes in their order."""
        highest, label_map = self.highest[place], self.label_map[place]
        wins = cv2.compare(levels, np.maximum(highest, self._below), cv2.CMP_GT)  # 255 where it does
        if wins.any():  # else a plane that is all zeros stays so
            np.maximum(label_map, np.bitwise_and(wins, k + 1), out=label_map)  # those there are less
        np.maximum(highest, levels, out=highest)

    def settle(self, image_probability: float) -> NDArray[np.uint8]:
        """The label map, once all is taken, less what the image probability or the least area rules out."""
        if image_probability < self._point.image_threshold:
            self.label_map = zero_planes(*self.label_map.shape)
        elif self._point.min_area_px > 1:
            for value in labels_of(self.label_map):
                _drop_small(self.label_map, value, self._point.min_area_px)
        return self.label_map


def to_label_map(
    probability: NDArray[np.uint8], image_probability: float, point: OperatingPoint
) -> NDArray[np.uint8]:
    """Decide every pixel: uint8 [K, H, W] to a label map uint8 [H, W], 0 background, k the k-th class.

    Where the image probability is below its threshold nothing is a defect. A pixel at or above the pixel
    threshold belongs to its most probable class (the first, if several are equal); connected regions of one
    class smaller than the least area are dropped.
    """
    marks = Marks((probability.shape[1], probability.shape[2]), point)
    if image_probability >= point.image_threshold:
        for k, levels in enumerate(probability):
            marks.add(k, (slice(None), slice(None)), levels)
    return marks.settle(image_probability)


def pixel_level(point: OperatingPoint) -> int:
    """The lowest probability, 1..255, that reaches the pixel threshold."""
    # the slack keeps a threshold that was chosen as a level, k / 255, at that level
    return max(1, math.ceil(point.pixel_threshold * 255 - 1e-6))


def _drop_small(label_map: NDArray[np.uint8], value: int, min_area_px: int) -> None:
    """Band by band first what lies within one, so that a large picture full of specks takes little memory."""
    height, width = label_map.shape
    step = max(1, BAND_PX // width)
    bands = range(0, height, step) if step < height else ()
    for start in bands:
        band = label_map[start : start + step]
        if value in labels_of(band):
            runs = find_runs(band, value)
            boxes = runs.boxes()
            _wipe(band, runs, min_area_px, (boxes[:, 1] > 0) & (boxes[:, 3] < len(band) - 1))
    if not bands or value in labels_of(label_map):
        runs = find_runs(label_map, value)
        _wipe(label_map, runs, min_area_px, np.ones(len(runs.start), np.bool_))


def _wipe(label_map: NDArray[np.uint8], runs: Runs, min_area_px: int, which: NDArray[np.bool_]) -> None:
    """Make those regions background that are smaller than the least area, of `which`, bool [N]."""
    lengths = runs.last - runs.first + 1
    small = (which & (np.add.reduceat(lengths, runs.start) < min_area_px))[runs.region]
    starts, lengths = (runs.row * label_map.shape[1] + runs.first)[small], lengths[small]
    pixels = label_map.reshape(-1)
    for n in range(0, len(starts), RUNS_AT_ONCE):
        count = lengths[n : n + RUNS_AT_ONCE]
        begins = starts[n : n + RUNS_AT_ONCE] - (count.cumsum() - count)
        pixels[np.repeat(begins, count) + np.arange(count.sum())] = 0

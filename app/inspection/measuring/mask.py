"""From probability maps to a label map, by the pixel threshold in force."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.bundle.artifact import OperatingPoint
from app.inspection.planes import zero_planes


class MaskAccumulator:
    """Per-pixel maximum and arg-max over classes, filled tile by tile; always two planes.

    `highest` is each pixel's highest level, uint8 [H, W]. `label_map` is the class of that level if it
    reaches the pixel threshold, else 0. Areas that receive only zeros take no memory.
    """

    def __init__(self, shape: tuple[int, int], point: OperatingPoint) -> None:
        self.highest = zero_planes(*shape)
        self.label_map = zero_planes(*shape)
        self._below = pixel_level(point.pixel_threshold) - 1

    def add(self, k: int, place: tuple[slice, slice], levels: NDArray[np.uint8]) -> None:
        """Add the levels of class k, uint8 [h, w], for some rows and columns; k in rising order."""
        highest, label_map = self.highest[place], self.label_map[place]
        wins = cv2.compare(levels, np.maximum(highest, self._below), cv2.CMP_GT)  # 255 where true
        if wins.any():  # writing zeros would allocate the plane's memory
            np.maximum(label_map, np.bitwise_and(wins, k + 1), out=label_map)  # k only rises
        np.maximum(highest, levels, out=highest)


def pixel_level(threshold: float) -> int:
    """The lowest probability, 1..255, that reaches a pixel threshold."""
    # the slack keeps a threshold that was chosen as a level, k / 255, at that level
    return max(1, math.ceil(threshold * 255 - 1e-6))


def marks_of(probability: NDArray[np.uint8], point: OperatingPoint) -> MaskAccumulator:
    """The mask of a whole image's probability maps, uint8 [K, H, W]."""
    marks = MaskAccumulator((probability.shape[1], probability.shape[2]), point)
    for k, levels in enumerate(probability):
        marks.add(k, (slice(None), slice(None)), levels)
    return marks

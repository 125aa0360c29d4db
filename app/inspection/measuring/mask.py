"""From probability maps to marked pixels, by the pixel threshold in force."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.bundle.artifact import OperatingPoint
from app.inspection.planes import zero_planes


class MaskAccumulator:
    """Per-pixel maximum and arg-max over classes, filled tile by tile: two planes, however many classes.

    `highest` is each pixel's highest level, uint8 [H, W], `label_map` its class where that reaches the pixel
    threshold. Where nothing but zeros comes, neither takes memory.
    """

    def __init__(self, shape: tuple[int, int], point: OperatingPoint) -> None:
        self.highest = zero_planes(*shape)
        self.label_map = zero_planes(*shape)
        self._below = pixel_level(point.pixel_threshold) - 1

    def add(self, k: int, place: tuple[slice, slice], levels: NDArray[np.uint8]) -> None:
        """Take the k-th class's levels in some rows and columns, uint8 [h, w]; classes in their order."""
        highest, label_map = self.highest[place], self.label_map[place]
        wins = cv2.compare(levels, np.maximum(highest, self._below), cv2.CMP_GT)  # 255 where it does
        if wins.any():  # else a plane that is all zeros stays so
            np.maximum(label_map, np.bitwise_and(wins, k + 1), out=label_map)  # those there are less
        np.maximum(highest, levels, out=highest)


def pixel_level(threshold: float) -> int:
    """The lowest probability, 1..255, that reaches a pixel threshold."""
    # the slack keeps a threshold that was chosen as a level, k / 255, at that level
    return max(1, math.ceil(threshold * 255 - 1e-6))


def marks_of(probability: NDArray[np.uint8], point: OperatingPoint) -> MaskAccumulator:
    """The marks of a whole image's probability maps, uint8 [K, H, W]."""
    marks = MaskAccumulator((probability.shape[1], probability.shape[2]), point)
    for k, levels in enumerate(probability):
        marks.add(k, (slice(None), slice(None)), levels)
    return marks

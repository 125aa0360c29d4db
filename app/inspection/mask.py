"""From probability maps to a label map, by the operating point in force."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.bundle import OperatingPoint


def to_label_map(
    probability: NDArray[np.uint8], image_probability: float, point: OperatingPoint
) -> NDArray[np.uint8]:
    """Decide every pixel: uint8 [K, H, W] to a label map uint8 [H, W], 0 background, k the k-th class.

    Where the image probability is below its threshold nothing is a defect. A pixel at or above the pixel
    threshold belongs to its most probable class (the first, if several are equal); connected regions of one
    class smaller than the least area are dropped.
    """
    label_map = np.zeros(probability.shape[1:], dtype=np.uint8)
    if image_probability < point.image_threshold:
        return label_map
    # the slack keeps a threshold that was chosen as a level, k / 255, at that level
    level = max(1, math.ceil(point.pixel_threshold * 255 - 1e-6))
    highest = np.full(label_map.shape, level - 1, dtype=np.uint8)
    for k, each in enumerate(probability, start=1):
        wins = each > highest
        label_map[wins] = k
        np.maximum(highest, each, out=highest)
    if point.min_area_px > 1:
        for k in range(1, len(probability) + 1):
            _drop_small(label_map, k, point.min_area_px)
    return label_map


def _drop_small(label_map: NDArray[np.uint8], k: int, min_area_px: int) -> None:
    mask = (label_map == k).view(np.uint8)
    if not mask.any():
        return
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    small = stats[:, cv2.CC_STAT_AREA] < min_area_px
    small[0] = False  # the background
    label_map[small[labels]] = 0

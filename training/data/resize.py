"""Resizing class bits as pictures are resized, without losing what is thin."""

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.sample import MAX_CLASSES, Bits, Size, class_bit, class_mask

LEAST_COVERAGE = 1e-3  # float32 rounding of cv2's areas lies far below, one pixel of 16 x 16 above

KEPT_SHARE = 0.45  # of the highest coverage nearby: at 0.5 thin oblique lines break here and there


def resize_bits(bits: Bits, size: Size) -> Bits:
    """Resize class bits, uint16 [H, W], to (height, width) `size`, each class by itself.

    Enlarged, every pixel takes its nearest; made smaller, regions keep their area and what is thinner than a
    pixel keeps those that it covers most. No region vanishes.
    """
    height, width = size
    if height >= bits.shape[0] and width >= bits.shape[1]:
        return np.asarray(cv2.resize(bits, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.uint16)
    resized = np.zeros(size, np.uint16)
    shown = int(np.bitwise_or.reduce(bits, axis=None))
    for number in range(1, MAX_CLASSES + 1):
        if shown & int(class_bit(number)):
            resized[_smaller(class_mask(bits, number), size)] |= class_bit(number)
    return resized


def _smaller(mask: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    """Where the mask covers at least about half of what it covers most nearby.

    Next to the inside of a region that is half of the pixel, so regions keep their area; along a thin line it
    is half of what the line covers, so lines do not break.
    """
    coverage = cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    nearby = cv2.dilate(coverage, np.ones((3, 3), np.uint8))
    return np.asarray((coverage > LEAST_COVERAGE) & (coverage >= KEPT_SHARE * nearby))

"""The project's only definitions of Dice and IoU.

Empty masks: two empty masks agree perfectly (1.0); one empty and one not agree in nothing (0.0).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

STRIP_PX = 1 << 18


def dice(predicted: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float:
    """Dice coefficient, 2 |A and B| / (|A| + |B|), of two boolean masks of one shape."""
    _same_shape(predicted, reference)
    counts = (np.count_nonzero(each) for each in (predicted, reference, predicted & reference))
    return dice_of_counts(*map(int, counts))


def dice_of_counts(predicted: int, reference: int, common: int) -> float:
    """Dice coefficient of two masks from their pixels and those they share."""
    total = predicted + reference
    return 2.0 * common / total if total else 1.0


def iou(predicted: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float:
    """Intersection over union, |A and B| / |A or B|, of two boolean masks of one shape."""
    _same_shape(predicted, reference)
    union = np.count_nonzero(predicted | reference)
    return float(np.count_nonzero(predicted & reference) / union) if union else 1.0


def label_iou(predicted: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """IoU of two label maps, where a pixel counts as common only if both give it the same class."""
    _same_shape(predicted, reference)
    union = np.count_nonzero(predicted | reference)
    common = np.count_nonzero((predicted == reference) & (reference > 0))
    return float(common / union) if union else 1.0


def soft_dice_confidence(
    levels: NDArray[np.uint8], mask: NDArray[np.bool_] | NDArray[np.uint8], table: NDArray[np.floating[Any]]
) -> float | None:
    """Dice to expect of what `mask` marks if the probabilities are calibrated: 2 Σpm / (Σp + Σm).

    `levels`, uint8 [H, W], are those of any defect, `table` has the probability of each of the 256, in 0..1.
    None for an empty mask: there is nothing to estimate. Source: Borges et al., Soft Dice Confidence, arXiv
    2402.10665.
    """
    _same_shape(levels, mask)
    inside, everywhere = np.zeros(256, np.int64), np.zeros(256, np.int64)
    for rows in _strips(levels.shape):
        everywhere += np.bincount(levels[rows].ravel(), minlength=256)
        inside += np.bincount(levels[rows][mask[rows] > 0], minlength=256)
    area = int(inside.sum())
    return float(2.0 * (inside @ table) / (everywhere @ table + area)) if area else None


def confusion(predicted: NDArray[np.uint8], reference: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """How many pixels of two label maps have which values, int [classes + 1, classes + 1] by both."""
    _same_shape(predicted, reference)
    counts = np.zeros((classes + 1) ** 2, np.int64)
    for rows in _strips(predicted.shape):
        pairs = predicted[rows].astype(np.intp) * (classes + 1) + reference[rows]
        counts += np.bincount(pairs.ravel(), minlength=len(counts))
    return counts.reshape(classes + 1, -1)


def _strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Rows to count in one after the other: numpy counts in numbers of eight bytes."""
    step = max(1, STRIP_PX // max(1, shape[1]))
    return (slice(start, start + step) for start in range(0, shape[0], step))


def _same_shape(first: NDArray[Any], second: NDArray[Any]) -> None:
    # numpy would broadcast (H, W) against (1, W) and give a number that means nothing
    if first.shape != second.shape:
        raise ValueError(f"masks must have one shape, not {first.shape} and {second.shape}")

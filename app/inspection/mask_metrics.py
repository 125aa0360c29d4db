"""The project's only definitions of Dice and IoU.

Empty masks: two empty masks agree perfectly (1.0); one empty and one not agree in nothing (0.0).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


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


def soft_dice_confidence(probability: NDArray[np.floating[Any]], mask: NDArray[np.bool_]) -> float | None:
    """Dice to expect of `mask` if `probability` is calibrated: 2 Σpm / (Σp + Σm).

    `probability` is the any-defect map, in 0..1. None for an empty mask: there is nothing to estimate.
    Source: Borges et al., Soft Dice Confidence, arXiv 2402.10665.
    """
    _same_shape(probability, mask)
    area = np.count_nonzero(mask)
    if area == 0:
        return None
    inside = float(np.sum(probability, where=mask, dtype=np.float64))
    total = float(np.sum(probability, dtype=np.float64))
    return float(2.0 * inside / (total + area))


def _same_shape(first: NDArray[Any], second: NDArray[Any]) -> None:
    # numpy would broadcast (H, W) against (1, W) and give a number that means nothing
    if first.shape != second.shape:
        raise ValueError(f"masks must have one shape, not {first.shape} and {second.shape}")

"""The project's only definitions of Dice and IoU.

Two empty masks have 1.0; an empty and a non-empty mask have 0.0.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.inspection.results import EstimatedDice, MeasuredDice

STRIP_PX = 1 << 18


def dice(predicted: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float:
    """Dice coefficient, 2 |A and B| / (|A| + |B|), of two boolean masks of the same shape."""
    _same_shape(predicted, reference)
    counts = (np.count_nonzero(each) for each in (predicted, reference, predicted & reference))
    return dice_of_counts(*map(int, counts))


def dice_of_counts(predicted: int, reference: int, common: int) -> float:
    """Dice coefficient of two masks, from their pixel counts and the count of their common pixels."""
    total = predicted + reference
    return 2.0 * common / total if total else 1.0


def label_iou(predicted: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """IoU of two label maps, where a pixel counts as common only if both give it the same class."""
    _same_shape(predicted, reference)
    union = np.count_nonzero(predicted | reference)
    common = np.count_nonzero((predicted == reference) & (reference > 0))
    return float(common / union) if union else 1.0


def soft_dice_confidence(
    levels: NDArray[np.uint8],
    mask: NDArray[np.bool_] | NDArray[np.uint8],
    table: NDArray[np.floating[Any]],
    check: Callable[[], None] = lambda: None,
) -> float | None:
    """Expected Dice of `mask` [H, W], given calibrated probabilities: 2 Σpm / (Σp + Σm).

    `levels`, uint8 [H, W], is the any-defect probability; `table` has the calibrated probability, in
    0..1, of each of the 256 levels. None for an empty mask. `check` is called regularly.
    Source: Borges et al., Soft Dice Confidence, arXiv 2402.10665.
    """
    _same_shape(levels, mask)
    inside, everywhere = np.zeros(256, np.int64), np.zeros(256, np.int64)
    for rows in _strips(levels.shape):
        check()
        everywhere += np.bincount(levels[rows].ravel(), minlength=256)
        inside += np.bincount(levels[rows][mask[rows] > 0], minlength=256)
    area = int(inside.sum())
    return float(2.0 * (inside @ table) / (everywhere @ table + area)) if area else None


def confusion(
    predicted: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    classes: int,
    check: Callable[[], None] = lambda: None,
) -> NDArray[np.int64]:
    """Confusion matrix in pixels, int [classes + 1, classes + 1]: predicted x reference."""
    _same_shape(predicted, reference)
    counts = np.zeros((classes + 1) ** 2, np.int64)
    for rows in _strips(predicted.shape):
        check()
        pairs = predicted[rows].astype(np.intp) * (classes + 1) + reference[rows]
        counts += np.bincount(pairs.ravel(), minlength=len(counts))
    return counts.reshape(classes + 1, -1)


def measured_dice(
    label_map: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    has_classes: bool,
    names: tuple[str, ...],
    check: Callable[[], None] = lambda: None,
) -> MeasuredDice:
    """Dice of a label map uint8 [H, W] with a reference mask.

    `has_classes` says whether the reference has classes or only marks any defect. `names` are the class
    names in label map order. `check` is called regularly.
    """
    pixels = confusion(label_map, reference, len(names), check)
    found, there, common = pixels.sum(axis=1), pixels.sum(axis=0), pixels.diagonal()
    per_class = {
        name: dice_of_counts(int(found[k]), int(there[k]), int(common[k]))
        for k, name in enumerate(names, start=1)
    }
    any_defect = dice_of_counts(int(found[1:].sum()), int(there[1:].sum()), int(pixels[1:, 1:].sum()))
    return MeasuredDice(any_defect, per_class if has_classes else None)


def estimated_dice(
    levels: NDArray[np.uint8],
    label_map: NDArray[np.uint8],
    table: NDArray[np.floating[Any]],
    around: Callable[[float], tuple[float, float]] | None,
    check: Callable[[], None] = lambda: None,
) -> EstimatedDice:
    """Expected Dice of a label map, by `soft_dice_confidence` of the any-defect levels, uint8 [H, W].

    An empty mask has no estimate. `around` gives the interval of an estimate; None if the bundle has no
    intervals.
    """
    if not label_map.any():
        return EstimatedDice(None, "empty_mask")
    estimate = soft_dice_confidence(levels, label_map, table, check)
    if estimate is None or around is None:
        return EstimatedDice(estimate, None)
    return EstimatedDice(estimate, None, *around(estimate))


def _strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Strips of rows, counted one by one to bound the memory: bincount converts to 8-byte integers."""
    step = max(1, STRIP_PX // max(1, shape[1]))
    return (slice(start, start + step) for start in range(0, shape[0], step))


def _same_shape(first: NDArray[Any], second: NDArray[Any]) -> None:
    # numpy would broadcast (H, W) against (1, W) and return a meaningless number
    if first.shape != second.shape:
        raise ValueError(f"masks must have the same shape, not {first.shape} and {second.shape}")

"""Curves over the image threshold, from image probabilities, before any recipe."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from app.inspection.bundle.calibration import Curve
from training.evaluation.compared import Compared
from training.evaluation.pixels import PixelLevels
from training.statistics import reliability

MOST_POINTS = 200  # per curve in evaluation.json; figures are computed from all points


def image_curves(compared: Sequence[Compared]) -> dict[str, Any] | None:
    """ROC, precision-recall, and escape and overkill rate against the image threshold, as lists of points.

    None if all images are good or all defective.
    """
    defective = np.array([each.defective for each in compared])
    probability = np.array([each.image_probability for each in compared])
    if not len(compared) or defective.all() or not defective.any():
        return None
    false_alarms, hits, thresholds = roc_curve(defective, probability, drop_intermediate=False)
    precision, recall, _ = precision_recall_curve(defective, probability)
    return {
        "roc": points(false_positive_rate=false_alarms, true_positive_rate=hits),
        "precision_recall": points(recall=recall[::-1], precision=precision[::-1]),
        # the first threshold is infinity
        "image_threshold": points(
            threshold=thresholds[1:], escape_rate=1 - hits[1:], overkill_rate=false_alarms[1:]
        ),
    }


def pro_curve(levels: PixelLevels) -> dict[str, list[float]] | None:
    """Per-region overlap against the false-positive rate of pixels; None without regions or good pixels."""
    if not levels.regions or not levels.good.any():
        return None
    rate, overlap = levels.pro_curve()
    return points(false_positive_rate=rate, region_overlap=overlap)


def image_reliability(
    compared: Sequence[Compared], curves: Sequence[Curve]
) -> dict[str, dict[str, Any] | None]:
    """The reliability diagrams of the image probability, uncalibrated and calibrated.

    `curves` has the calibration curve for each image.
    """
    probability = np.array([each.image_probability for each in compared])
    positives = np.array([each.defective for each in compared], float)
    levels = np.rint(probability * 255).astype(int)
    tables = {id(curve): curve.table() for curve in curves}
    calibrated = np.array(
        [tables[id(curve)][level] for curve, level in zip(curves, levels, strict=True)], float
    )
    kinds = {"image_reliability": probability, "image_reliability_calibrated": calibrated}
    return {name: reliability(values, np.ones(len(compared)), positives) for name, values in kinds.items()}


def points(**columns: NDArray[np.float64]) -> dict[str, list[float]]:
    """Columns of equal length, thinned evenly; the first and the last point are kept."""
    length = len(next(iter(columns.values())))
    kept = np.unique(np.linspace(0, length - 1, min(length, MOST_POINTS)).round().astype(int))
    return {name: [round(float(value), 4) for value in values[kept]] for name, values in columns.items()}

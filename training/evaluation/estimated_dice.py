"""The estimated Dice compared with the measured one: errors, ranking, and coverage of its interval."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr

from training.evaluation.compared import Compared
from training.evaluation.curves import points
from training.statistics import Figures, interval


def estimate_figures(compared: Sequence[Compared], confidence: float) -> Figures:
    """Figures of the defective images that have both a measured and an estimated Dice.

    `interval` is None if no image has one; the correlations are None with fewer than three images or equal
    values; `risk_coverage` is None without images.
    """
    rows = [
        each
        for each in compared
        if each.defective and each.estimated_dice is not None and each.dice is not None
    ]
    estimated = np.array([each.estimated_dice for each in rows], float)
    true = np.array([each.dice for each in rows], float)
    return {
        "pictures": len(rows),
        "mean_error": _mean(estimated - true),
        "mean_absolute_error": _mean(np.abs(estimated - true)),
        **_correlations(estimated, true),
        "interval": _interval_figures([each for each in rows if each.dice_interval is not None], confidence),
        "risk_coverage": risk_coverage(estimated, 1 - true) if rows else None,
    }


def risk_coverage(confidence: NDArray[np.float64], risk: NDArray[np.float64]) -> Figures:
    """The mean risk against the share of images kept, the most confident first, and the area under it (AURC).

    Images of equal confidence each count with their mean risk. `best` is the area with the images in the
    order of their risk, `random` with a random order. Source: Geifman et al., arXiv 1805.08206.
    """
    _, level, count = np.unique(-confidence, return_inverse=True, return_counts=True)
    shared = (np.bincount(level, risk) / count)[np.sort(level)]
    kept = np.arange(1, len(risk) + 1)
    curve, best = np.cumsum(shared) / kept, np.cumsum(np.sort(risk)) / kept
    return {
        "aurc": round(float(curve.mean()), 4),
        "best": round(float(best.mean()), 4),
        "random": round(float(risk.mean()), 4),
        "curve": points(kept=kept / len(risk), risk=curve, best_risk=best),
    }


def _interval_figures(rows: Sequence[Compared], confidence: float) -> Figures | None:
    """Share of intervals that contain the measured Dice, by image and as the mean of groups; mean width."""
    if not rows:
        return None
    inside: dict[str, list[bool]] = defaultdict(list)
    widths = []
    for each in rows:
        assert each.dice_interval is not None
        assert each.dice is not None
        low, high = each.dice_interval
        inside[each.group].append(low <= each.dice <= high)
        widths.append(high - low)
    count = sum(map(sum, inside.values()))
    bounds = interval(count, len(rows), confidence)
    return {
        "pictures": len(rows),
        "groups": len(inside),
        "coverage": {
            "value": round(count / len(rows), 4),
            "interval": [round(bound, 4) for bound in bounds],
            "count": count,
            "of": len(rows),
        },
        "coverage_by_group": _mean(np.array([np.mean(each) for each in inside.values()])),
        "mean_width": _mean(np.array(widths)),
    }


def _correlations(estimated: NDArray[np.float64], true: NDArray[np.float64]) -> dict[str, float | None]:
    if len(true) < 3 or not np.ptp(estimated) or not np.ptp(true):
        return {"pearson": None, "spearman": None}
    return {
        "pearson": round(float(pearsonr(estimated, true).statistic), 4),
        "spearman": round(float(spearmanr(estimated, true).statistic), 4),
    }


def _mean(values: NDArray[np.float64]) -> float | None:
    return round(float(values.mean()), 4) if len(values) else None

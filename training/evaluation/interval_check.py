"""Coverage of intervals around the estimated Dice on images that they were not fitted to."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.inspection.bundle.artifact import DiceInterval
from training.evaluation.compared import Compared
from training.statistics import Figures
from training.thresholds.dice_interval import COVERAGE, DicePairs, fit_dice_interval

SEED = 0


def check_interval(compared: Sequence[Compared], repeats: int) -> Figures:
    """Divide the groups into random halves, fit an interval to each half and measure it on the other.

    Uses the defective images that have both a measured and an estimated Dice. Each half gives one coverage,
    by image and as the mean of groups. Reported are mean, standard deviation and extremes, and the number of
    halves with too few groups for an interval. The bundle's own interval is not used.
    """
    pairs = DicePairs.of(
        [
            (each.estimated_dice, each.dice, each.group)
            for each in compared
            if each.defective and each.estimated_dice is not None and each.dice is not None
        ]
    )
    groups = np.unique(pairs.group)
    rng, found = np.random.default_rng(SEED), []
    for _ in range(repeats):
        first = np.isin(pairs.group, rng.permutation(groups)[: len(groups) // 2])
        for fitted in (first, ~first):
            interval = fit_dice_interval(pairs.only(fitted))
            if interval is not None:
                found.append(_coverage(interval, pairs.only(~fitted)))
    by_picture, by_group, width = np.array(found).reshape(-1, 3).T
    return {
        "stated_coverage": COVERAGE,
        "pictures": len(pairs.true),
        "groups": len(groups),
        "halves": 2 * repeats,
        "halves_without_interval": 2 * repeats - len(found),
        "coverage": _spread(by_picture),
        "coverage_by_group": _spread(by_group),
        "width": _spread(width),
    }


def _coverage(interval: DiceInterval, pairs: DicePairs) -> tuple[float, float, float]:
    """Coverage by image, coverage as the mean of groups, and the mean width."""
    bounds = np.array([interval.around(float(each)) for each in pairs.estimated])
    inside = (bounds[:, 0] <= pairs.true) & (pairs.true <= bounds[:, 1])
    _, group, sizes = np.unique(pairs.group, return_inverse=True, return_counts=True)
    by_group = np.bincount(group, inside) / sizes
    return float(inside.mean()), float(by_group.mean()), float(np.ptp(bounds, axis=1).mean())


def _spread(values: NDArray[np.float64]) -> dict[str, float] | None:
    if not len(values):
        return None
    figures = {
        "mean": values.mean(),
        "standard_deviation": values.std(),
        "lowest": values.min(),
        "highest": values.max(),
    }
    return {name: round(float(value), 4) for name, value in figures.items()}

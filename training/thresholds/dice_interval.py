"""The interval around the estimated Dice: conformal margins, from images that the network was not fitted to.

It applies to defective images that are found defective; the true Dice of a mask on a good part is always 0.
Groups, not images, are taken as exchangeable: a new part on the line is a new group, and the errors of one
part's images are alike. Each image has the weight of its share of its group, and the future group counts as
wholly outside. Then, averaged over new parts, at least the stated share of a part's images is inside, for any
distribution of errors. Split-conformal prediction: Angelopoulos and Bates, arXiv 2107.07511; for groups: Lee
et al., arXiv 2306.06342.

Each level of the estimate has its own margin. With a single margin, doubtful masks, which matter most, would
be covered less often than certain ones. The limits of the levels depend on the estimates, never on the true
Dice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.inspection.bundle.artifact import DiceInterval, OperatingPoint
from app.inspection.bundle.calibration import ProbabilityCalibration
from app.inspection.mask_metrics import dice, soft_dice_confidence
from training.thresholds.operating_point import label_map
from training.thresholds.predictions import Scored

COVERAGE = 0.9
LEVEL_GROUPS = 19  # one of them and the future group may be outside: 2 of 20 are 10 %
MOST_LEVELS = 5
DECIMALS = 4


@dataclass(frozen=True, eq=False)
class DicePairs:
    """Estimated and true Dice of images, float [N] each, and the group of each, int [N]."""

    estimated: NDArray[np.float64]
    true: NDArray[np.float64]
    group: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[tuple[float, float, str]]) -> "DicePairs":
        """Pairs from rows of estimated Dice, true Dice and the group's name."""
        values = np.array([row[:2] for row in rows], float).reshape(-1, 2)
        group = np.unique([row[2] for row in rows], return_inverse=True)[1].astype(np.int64)
        return cls(values[:, 0], values[:, 1], group)

    def only(self, kept: NDArray[np.bool_]) -> "DicePairs":
        """The images that `kept`, bool [N], selects."""
        return DicePairs(self.estimated[kept], self.true[kept], self.group[kept])


def dice_interval(
    point: OperatingPoint,
    scored: Sequence[Scored],
    calibration: ProbabilityCalibration,
    splits: tuple[str, ...],
) -> DiceInterval | None:
    """The interval at an operating point, from images of `splits`; None if there are too few groups."""
    table, rows = calibration.mask_table(), []
    for each in scored:
        if not each.defective or each.bits is None or not each.bits.any():
            continue
        mask = label_map(each, point) > 0
        estimate = soft_dice_confidence(each.probability.max(axis=0), mask, table)
        if estimate is not None:
            rows.append((estimate, dice(mask, each.bits > 0), each.group))
    interval = fit_dice_interval(DicePairs.of(rows))
    return None if interval is None else interval.model_copy(update={"splits": splits})


def least_groups(coverage: float = COVERAGE) -> int:
    """The smallest number of groups; with fewer, the only interval of that coverage is 0 to 1."""
    return int(np.ceil(1 / (1 - coverage) - 1e-9)) - 1


def fit_dice_interval(pairs: DicePairs, coverage: float = COVERAGE) -> DiceInterval | None:
    """Return the narrowest margins with that coverage; None if there are fewer than `least_groups`."""
    groups = len(np.unique(pairs.group))
    if groups < least_groups(coverage):
        return None
    levels = _levels(pairs, groups)
    level = np.searchsorted(levels, pairs.estimated, side="right") - 1
    margins = [_margin(pairs.only(level == k), coverage) for k in range(len(levels))]
    monotone = np.maximum.accumulate(margins[::-1])[::-1]  # margins only become wider, so coverage is kept
    return DiceInterval(
        coverage=coverage,
        pictures=len(pairs.true),
        groups=groups,
        levels=tuple(levels.tolist()),
        margins=tuple(monotone.tolist()),
    )


def _levels(pairs: DicePairs, groups: int) -> NDArray[np.float64]:
    """The lower limit of each level, 0 first; from the top, a level ends once it has its share of groups."""
    wanted = groups // min(MOST_LEVELS, max(1, groups // LEVEL_GROUPS))
    begins, seen = [], set()
    for place in np.argsort(-pairs.estimated, kind="stable"):
        seen.add(pairs.group[place])
        if len(seen) == wanted:
            begins.append(pairs.estimated[place])
            seen.clear()
    return np.unique(np.round([0.0, *begins[:-1]], DECIMALS))  # the remainder below joins the lowest level


def _margin(pairs: DicePairs, coverage: float) -> float:
    """The smallest margin that on average at most 1 - coverage of a new group's images exceed."""
    _, group, sizes = np.unique(pairs.group, return_inverse=True, return_counts=True)
    errors, place = np.unique(np.abs(pairs.true - pairs.estimated), return_inverse=True)
    share = np.bincount(place, 1 / sizes[group])
    beyond = np.cumsum(share[::-1])[::-1] - share
    enough = errors[(beyond + 1) / (len(sizes) + 1) <= 1 - coverage + 1e-9]
    if not len(enough):
        return 1.0
    return min(1.0, float(np.ceil(enough[0] * 10**DECIMALS) / 10**DECIMALS))

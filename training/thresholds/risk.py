"""The image threshold by risk: the trade-off of a calibration split, and the choice of one of its rows.

The threshold is chosen on the same images that bound its escape rate. This is valid because both the counted
escapes and the true rate can only rise with the threshold. If the true rate of the chosen row were above the
limit, the threshold at which the true rate crosses the limit would have to look proven too. The probability
of that is at most 1 - confidence, for any number of rows at any positions (Bates et al., *Distribution-Free,
Risk-Controlling Prediction Sets*, arXiv 2101.02703; as fixed-sequence testing: Angelopoulos et al., *Learn
then Test*, arXiv 2110.01052). The images, or groups, must be independent and like those of the line.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.inspection.rules.trade_off import (
    Chosen,
    PointChoice,
    Risk,
    TradeOff,
    TradeOffRow,
    Trials,
    pick,
    strictest,
)
from training.config import CostConfig, OperatingPointConfig
from training.statistics import upper_bound
from training.thresholds.risk_text import met, not_provable, promises_nothing

MOST_ROWS = 64
Levels = NDArray[np.float64]


def trade_off(
    image: Sequence[float], defective: Sequence[bool], groups: Sequence[str], confidence: float
) -> TradeOff | None:
    """Count escapes and overkills at every useful image threshold; None if there is none.

    For each image: its image probability, whether it is defective, its group. There must be good and
    defective images.
    """
    levels, kinds, names = np.asarray(image, float), np.asarray(defective, bool), np.asarray(groups)
    bad, good = levels[kinds], levels[~kinds]
    # The worst image decides for its group: the lowest probability if defective, the highest if good.
    bad_groups = _by_group(bad, names[kinds], np.minimum)
    good_groups = _by_group(good, names[~kinds], np.maximum)
    thresholds = _thresholds(bad, good)
    if not thresholds:
        return None
    by_picture = _risks(thresholds, bad, good, confidence)
    by_group = _risks(thresholds, bad_groups, good_groups, confidence)
    return TradeOff(
        confidence=confidence,
        picture=Trials(defective=len(bad), good=len(good)),
        group=Trials(defective=len(bad_groups), good=len(good_groups)),
        rows=tuple(
            TradeOffRow(image_threshold=threshold, picture=picture, group=group)
            for threshold, picture, group in zip(thresholds, by_picture, by_group, strict=True)
        ),
    )


def choose_row(table: TradeOff, config: OperatingPointConfig) -> tuple[TradeOffRow, Chosen]:
    """Return the row that a configuration asks for, and a record of the choice.

    If the limit cannot be proven, this is the strictest row, which has the lowest bound.
    """
    if config.mode in ("max-escape", "max-overkill"):
        choice = PointChoice(max_escape=config.max_escape, max_overkill=config.max_overkill, by=config.by)
        row = pick(table, choice)
        is_met = row is not None
        row = row or strictest(table, choice)
        sentence = (met if is_met else not_provable)(table, row, choice)
        target = config.max_escape if config.mode == "max-escape" else config.max_overkill
        return row, _chosen(config, target, is_met, sentence)
    if config.cost is None:
        row, how = max(table.rows, key=lambda row: _f_beta(table, row, config.beta)), f"F{config.beta:g}"
    else:
        cost = config.cost
        row = min(table.rows, key=lambda row: _costs(table, row, cost, config.by))
        how = f"cost at {cost.escape:g} an escape and {cost.overkill:g} an overkill"
    return row, _chosen(config, None, None, promises_nothing(table, row, how, config.by))


def thinned(table: TradeOff, kept: TradeOffRow) -> TradeOff:
    """The table with at most MOST_ROWS evenly spaced rows, and `kept`."""
    if len(table.rows) <= MOST_ROWS:
        return table
    numbers = {round(each) for each in np.linspace(0, len(table.rows) - 1, MOST_ROWS)}
    numbers.add(table.rows.index(kept))
    return table.model_copy(update={"rows": tuple(table.rows[number] for number in sorted(numbers))})


def _thresholds(bad: Levels, good: Levels) -> list[float]:
    """The useful thresholds: midway between a level of a good image and the next level, of a defective one.

    Any other threshold can be moved up or down without a loss. Each of these passes at least one good image
    and stops at least one defective image.
    """
    levels = np.unique(np.concatenate([bad, good]))
    worth = np.isin(levels[:-1], good) & np.isin(levels[1:], bad)
    middle: list[float] = ((levels[:-1] + levels[1:]) / 2)[worth].tolist()
    return middle


def _by_group(levels: Levels, names: NDArray[np.str_], worst: np.ufunc) -> Levels:
    found, group = np.unique(names, return_inverse=True)
    each = np.full(len(found), np.inf if worst is np.minimum else -np.inf)
    worst.at(each, group, levels)
    return each


def _risks(thresholds: Sequence[float], bad: Levels, good: Levels, confidence: float) -> list[Risk]:
    escapes: list[int] = np.searchsorted(np.sort(bad), thresholds, side="left").tolist()
    passed: list[int] = np.searchsorted(np.sort(good), thresholds, side="left").tolist()
    return [
        Risk(
            escapes=missed,
            escape_bound=upper_bound(missed, len(bad), confidence),
            overkills=len(good) - right,
            overkill_bound=upper_bound(len(good) - right, len(good), confidence),
        )
        for missed, right in zip(escapes, passed, strict=True)
    ]


def _f_beta(table: TradeOff, row: TradeOffRow, beta: float) -> float:
    defective, hits = table.picture.defective, table.picture.defective - row.picture.escapes
    return (1 + beta**2) * hits / (beta**2 * defective + hits + row.picture.overkills)


def _costs(table: TradeOff, row: TradeOffRow, cost: CostConfig, by: str) -> tuple[float, float]:
    """The cost per part by the requested unit, then by image, which breaks ties."""

    def of(risk: Risk, trials: Trials) -> float:
        share = cost.defective_share
        if share is None:
            share = trials.defective / (trials.defective + trials.good)
        escaped, overkilled = risk.escapes / trials.defective, risk.overkills / trials.good
        return share * escaped * cost.escape + (1 - share) * overkilled * cost.overkill

    picture = of(row.picture, table.picture)
    return (of(row.group, table.group) if by == "group" else picture), picture


def _chosen(config: OperatingPointConfig, target: float | None, met: bool | None, sentence: str) -> Chosen:
    return Chosen(
        mode=config.mode,
        target=target,
        confidence=config.confidence,
        by=config.by,
        met=met,
        sentence=sentence,
    )

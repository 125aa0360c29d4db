"""Compares the results of strategies on the same folds: a table, and the choice of one by a rule."""

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.stats import t as student

from app.inspection.repeats import repeated
from training.files import write_text

Quantity = Literal["accuracy", "recall", "auroc", "dice", "score", "seconds", "gpu_gib"]
COLUMNS: dict[Quantity, str] = {
    "score": "score",
    "accuracy": "accuracy",
    "recall": "recall",
    "auroc": "AUROC",
    "dice": "Dice",
    "seconds": "seconds",
    "gpu_gib": "GPU GiB",
}
RULE = (
    "The best strategy is the one with a mask and the highest mean score, (AUROC + Dice) / 2. The difference "
    "of each strategy to the best is taken fold by fold. Of the strategies whose interval of that difference "
    "contains 0, the one with the shortest training time is chosen. Inference is the same for all of them, "
    "because the graph is the same."
)


class ComparisonError(ValueError):
    """Results that cannot be compared; the message says what is missing."""


@dataclass(frozen=True)
class FoldResult:
    """The result of one strategy on one fold of one repeat.

    accuracy, recall (of defective images) and auroc are by image, dice is per defective image; all are from 0
    to 1. dice is None for a strategy without a mask, gpu_gib (peak memory, GiB) is None without a GPU.
    """

    strategy: str
    repeat: int
    fold: int
    accuracy: float
    recall: float
    auroc: float
    dice: float | None
    seconds: float
    gpu_gib: float | None = None

    @property
    def score(self) -> float | None:
        """The mean of AUROC and Dice, as used to choose checkpoints."""
        return None if self.dice is None else (self.auroc + self.dice) / 2


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """One strategy: its figures, and the difference of its score to that of the best, fold by fold."""

    strategy: str
    figures: dict[Quantity, Interval | None]
    difference: Interval | None


@dataclass(frozen=True)
class Comparison:
    """All strategies, the best first; `best` has the highest score, `chosen` is chosen by RULE."""

    rows: tuple[Row, ...]
    best: str
    chosen: str
    folds: int
    repeats: int
    confidence: float


def mean_interval(values: Sequence[float], folds: int, confidence: float = 0.95) -> Interval:
    """Return the mean of repeated k-fold results and its corrected t-interval.

    Training sets of different folds share images, so the results vary less than independent ones. The
    variance is therefore multiplied by 1/n + 1/(folds - 1) instead of 1/n. Sources: Nadeau and Bengio,
    Inference for the Generalization Error, Machine Learning 52, 2003; for repeats, Bouckaert and Frank, PAKDD
    2004.
    """
    count = len(values)
    if count < 2 or folds < 2:
        raise ComparisonError(f"{count} results of {folds} folds have no interval; run at least 2 folds")
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1)) * math.sqrt(1 / count + 1 / (folds - 1))
    reach = float(student.ppf((1 + confidence) / 2, count - 1)) * error
    return Interval(mean, mean - reach, mean + reach)


def compare(results: Sequence[FoldResult], confidence: float = 0.95) -> Comparison:
    """Return the table and the choice; raises ComparisonError unless all were run on the same folds.

    A strategy without a mask has a row but is never chosen, because it gives no bundle.
    """
    by_strategy = _same_folds(results)
    any_results = next(iter(by_strategy.values()))
    folds, repeats = (len({getattr(each, name) for each in any_results}) for name in ("fold", "repeat"))
    scores = {
        name: [each.score for each in of_one if each.score is not None]
        for name, of_one in by_strategy.items()
    }
    scores = {name: values for name, values in scores.items() if len(values) == len(any_results)}
    if not scores:
        raise ComparisonError("no strategy with a mask was run on every fold; there is none to choose")
    best = max(scores, key=lambda name: float(np.mean(scores[name])))
    differences = {
        name: mean_interval([a - b for a, b in zip(values, scores[best], strict=True)], folds, confidence)
        for name, values in scores.items()
    }
    rows = [
        Row(name, {each: _figure(of_one, each, folds, confidence) for each in COLUMNS}, differences.get(name))
        for name, of_one in by_strategy.items()
    ]
    as_good = [name for name, difference in differences.items() if difference.high >= 0]
    chosen = min(as_good, key=lambda name: float(np.mean([each.seconds for each in by_strategy[name]])))
    rows.sort(key=lambda row: -row.difference.mean if row.difference else math.inf)
    return Comparison(tuple(rows), best, chosen, folds, repeats, confidence)


def _same_folds(results: Sequence[FoldResult]) -> dict[str, list[FoldResult]]:
    """Group the results by strategy and sort them by fold, so that they can be paired."""
    by_strategy: dict[str, list[FoldResult]] = defaultdict(list)
    for each in sorted(results, key=lambda each: (each.repeat, each.fold)):
        by_strategy[each.strategy].append(each)
    folds = {
        name: [(each.repeat, each.fold) for each in of_one] for name, of_one in sorted(by_strategy.items())
    }
    expected = sorted({fold for of_one in folds.values() for fold in of_one})
    for name, found in folds.items():
        if found != expected:
            odd = sorted(set(expected) - set(found)) or repeated(found)
            kind = "lacks" if set(found) != set(expected) else "has twice"
            raise ComparisonError(
                f"{name} {kind} repeat {odd[0][0]}, fold {odd[0][1]}; run all on the same folds"
            )
    if not folds:
        raise ComparisonError("there are no results to compare; run at least one strategy")
    return {name: by_strategy[name] for name in folds}


def _figure(
    results: Sequence[FoldResult], quantity: Quantity, folds: int, confidence: float
) -> Interval | None:
    """The mean and interval of one column, limited to possible values; None if any fold lacks it."""
    values = [getattr(each, quantity) for each in results]
    if None in values:
        return None
    found = mean_interval(values, folds, confidence)
    most = math.inf if quantity in ("seconds", "gpu_gib") else 1.0
    return Interval(found.mean, max(found.low, 0.0), min(found.high, most))


def markdown(comparison: Comparison) -> str:
    """Return the comparison as a Markdown table with the rule and the choice below."""
    head = ["strategy", *COLUMNS.values(), "score minus best score"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in comparison.rows:
        name = f"**{row.strategy}**" if row.strategy == comparison.chosen else row.strategy
        cells = [_cell(row.figures[each], 1 if each in ("seconds", "gpu_gib") else 3) for each in COLUMNS]
        lines.append(f"| {' | '.join([name, *cells, _cell(row.difference, 3)])} |")
    lines += [
        "",
        f"Mean and {comparison.confidence:.0%} interval of {comparison.folds} folds, {comparison.repeats} "
        "times over; the interval is corrected for training images that folds share.",
        "",
        RULE,
        f"Highest mean score: {comparison.best}. Chosen: {comparison.chosen}.",
    ]
    return "\n".join(lines) + "\n"


def write_comparison(directory: Path, results: Sequence[FoldResult], comparison: Comparison) -> None:
    """Write comparison.json, with the results of all folds and the rule, and comparison.md."""
    content = asdict(comparison) | {"rule": RULE, "results": [asdict(each) for each in results]}
    write_text(directory / "comparison.json", json.dumps(content, indent=2) + "\n")
    write_text(directory / "comparison.md", markdown(comparison))


def _cell(value: Interval | None, digits: int) -> str:
    if value is None:
        return "–"
    return f"{value.mean:.{digits}f} ({value.low:.{digits}f} to {value.high:.{digits}f})"

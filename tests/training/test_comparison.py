"""Comparing strategies: intervals, the rule, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from training.studies.comparison import (
    ComparisonError,
    FoldResult,
    compare,
    markdown,
    mean_interval,
    write_comparison,
)

NOISE = [0.00, 0.04, -0.03, 0.02, -0.03]  # how hard each fold is, for all strategies alike


def _results(strategy: str, dice: float | None, seconds: float, wobble: float = 0.001) -> list[FoldResult]:
    return [
        FoldResult(
            strategy=strategy,
            repeat=0,
            fold=fold,
            accuracy=0.9 + noise,
            recall=0.85 + noise,
            auroc=0.95 + noise,
            dice=None if dice is None else dice + noise + wobble * (-1) ** fold,
            seconds=seconds + fold,
        )
        for fold, noise in enumerate(NOISE)
    ]


def test_interval_is_corrected_for_shared_training_pictures() -> None:
    values = [0.1, 0.2, 0.3, 0.4, 0.5]
    found = mean_interval(values, folds=5)
    # t of 4 degrees of freedom at 0.975 is 2.776; the variance of the mean is 0.025 * (1/5 + 1/4).
    assert found.mean == pytest.approx(0.3)
    assert found.high - found.mean == pytest.approx(2.776 * np.sqrt(0.025 * 0.45), rel=1e-3)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)
    assert mean_interval(values * 2, folds=5).high < found.high


def test_worse_beyond_doubt_is_not_chosen_however_cheap() -> None:
    found = compare([*_results("full", 0.70, 100), *_results("decoder", 0.60, 10)])
    assert (found.best, found.chosen) == ("full", "full")


def test_of_equals_the_cheapest_is_chosen() -> None:
    good = _results("full", 0.70, 100)
    # As good on average but for a hair, and now better, now worse, by fold.
    equal = _results("layerwise", 0.699, 50, wobble=-0.05)
    found = compare([*good, *equal, *_results("scratch", 0.40, 10)])
    assert (found.best, found.chosen) == ("full", "layerwise")
    assert [row.strategy for row in found.rows] == ["full", "layerwise", "scratch"]


def test_a_strategy_without_mask_is_listed_and_never_chosen() -> None:
    found = compare([*_results("svm", None, 1), *_results("full", 0.5, 100)])
    row = next(row for row in found.rows if row.strategy == "svm")
    assert found.chosen == "full"
    assert row.difference is None
    assert row.figures["dice"] is None
    assert row.figures["auroc"] is not None
    with pytest.raises(ComparisonError, match="no strategy with a mask"):
        compare(_results("svm", None, 1))


def test_intervals_stay_within_what_can_be() -> None:
    sure = [FoldResult("full", 0, fold, 1 - fold / 10, 1, 1, 0.5, 1 + fold * 100) for fold in range(3)]
    figures = compare(sure).rows[0].figures
    accuracy, seconds = figures["accuracy"], figures["seconds"]
    assert accuracy is not None
    assert seconds is not None
    assert accuracy.high == 1
    assert seconds.low == 0
    assert seconds.high > 201


def test_other_folds_are_refused() -> None:
    with pytest.raises(ComparisonError, match="decoder lacks repeat 0, fold 4"):
        compare([*_results("full", 0.7, 1), *_results("decoder", 0.6, 1)[:4]])
    with pytest.raises(ComparisonError, match="full has twice repeat 0, fold 0"):
        compare([*_results("full", 0.7, 1), _results("full", 0.7, 1)[0]])
    with pytest.raises(ComparisonError, match="no results"):
        compare([])
    with pytest.raises(ComparisonError, match="run at least 2 folds"):
        compare(_results("full", 0.7, 1)[:1])


def test_order_of_results_does_not_matter() -> None:
    results = [*_results("full", 0.70, 100), *_results("decoder", 0.69, 10, wobble=0.03)]
    assert compare(results) == compare(results[::-1])


def test_table_and_file(tmp_path: Path) -> None:
    results = [*_results("svm", None, 1), *_results("full", 0.5, 100)]
    found = compare(results)
    table = markdown(found)
    lines = table.splitlines()
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert lines[2].startswith("| **full** |")
    assert "–" in lines[3]
    assert "95% interval of 5 folds, 1 times over" in table
    write_comparison(tmp_path, results, found)
    written = json.loads((tmp_path / "comparison.json").read_text())
    assert written["chosen"] == "full"
    assert len(written["results"]) == 10
    assert written["rule"] in table
    assert (tmp_path / "comparison.md").read_text() == table

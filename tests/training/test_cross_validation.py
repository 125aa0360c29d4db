"""What studies make of the figures of their folds, without any training."""

from dataclasses import replace
from pathlib import Path

import pytest

from training.compare_strategies import strategy_names
from training.config import ConfigError, RunConfig
from training.cross_validation import fold_figures, folds_of
from training.learning_curve import Point, _means
from training.run import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    config = RunConfig(stage="small", name="parts")
    return Run(config, tmp_path, tmp_path / "run", tmp_path / "models", "python -m training cross-validate")


def test_folds_of_a_run_have_folders_of_their_own(run: Run) -> None:
    parts = list(folds_of(run, 3, 2))
    assert len({part.directory for part in parts}) == 6
    assert {part.directory.parent for part in parts} == {run.directory / "folds"}
    assert [part.fold and part.fold.repeat for part in parts] == [0, 0, 0, 1, 1, 1]
    assert all(replace(part, fold=None, directory=run.directory) == run for part in parts)


def test_figure_that_a_fold_could_not_measure_stays_unknown() -> None:
    rate = {"value": 0.75, "interval": [0.5, 0.9]}
    test = dict.fromkeys(("accuracy", "recall", "escape_rate", "overkill_rate"), rate)
    found = fold_figures(test | {"precision": None, "auroc": 0.8, "dice": {"per_defective_picture": None}})
    assert found["accuracy"] == 0.75
    assert found["precision"] is None
    assert found["dice"] is None


def test_learning_curve_counts_the_steps_to_the_best_from_scratch() -> None:
    figures = {"accuracy": 0.9, "auroc": 0.8, "dice": None}
    points = [
        Point("scratch", 0.5, "a", figures, {100: 0.3, 200: 0.5, 300: 0.4}),
        Point("scratch", 0.5, "b", figures | {"accuracy": 0.7}, {100: 0.2, 200: 0.6}),
        Point("large", 0.5, "a", figures, {100: 0.5, 200: 0.7}),
        Point("large", 0.5, "b", figures, {100: 0.5, 200: 0.55}),
    ]
    scratch, large = _means(points)
    assert (scratch["accuracy"], scratch["dice"]) == (0.8, None)
    assert scratch["steps_to_the_best_of_scratch"] == 200
    assert large["steps_to_the_best_of_scratch"] == 100
    assert large["folds_that_reached_the_best_of_scratch"] == 1


def test_unknown_strategy_is_named() -> None:
    assert strategy_names("full, svm") == ["full", "svm"]
    with pytest.raises(ConfigError, match="'magic' is no strategy; known are full"):
        strategy_names("full,magic")

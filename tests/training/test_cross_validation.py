"""The folds of a study and what is made of their figures, without any training."""

from dataclasses import replace
from pathlib import Path

import pytest

from training.config import ConfigError, RunConfig
from training.data.layouts.magnetic_tile import write_generated
from training.data.splits import read_splits
from training.evaluation.figures import fold_figures
from training.run import Run
from training.steps.split import read_data
from training.studies.compare_strategies import strategy_names
from training.studies.cross_validation import folds_of
from training.studies.learning_curve import Point, _means


@pytest.fixture
def run(tmp_path: Path) -> Run:
    config = RunConfig(stage="small", name="parts")
    write_generated(tmp_path / "tiles", count=60, seed=5)
    return Run(config, tmp_path / "tiles", tmp_path / "run", tmp_path / "models", "passline train compare")


def test_folds_of_a_run_have_folders_and_test_pictures_of_their_own(run: Run) -> None:
    dataset = read_data(run)
    parts = folds_of(run, dataset, 3, 2)
    assert len({part.directory for part in parts}) == 6
    tested = [read_splits(part.directory / "splits.json")["test"] for part in parts[:3]]
    assert len({name for names in tested for name in names}) == sum(map(len, tested)) == 60
    assert [part.directory for part in folds_of(run, dataset, 3, most=1)] == [parts[0].directory]
    assert {part.directory.parent for part in parts} == {run.directory / "folds"}
    assert [part.fold and part.fold.repeat for part in parts] == [0, 0, 0, 1, 1, 1]
    bare = vars(replace(run, config=parts[0].config))
    for part in parts:
        own = {name: getattr(part, name) for name in bare}
        assert own | {"fold": None, "directory": run.directory} == bare
    assert parts[0].config == run.config.model_copy(update={"gate": None, "test_parity": False})


def test_folds_of_a_cross_fitted_run_are_refused(run: Run) -> None:
    split = run.config.split.model_copy(update={"folds": 3})
    crossed = replace(run, config=run.config.model_copy(update={"split": split}))
    with pytest.raises(ConfigError, match="leave folds out and set the four shares"):
        folds_of(crossed, read_data(crossed), 3)


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("full,magic", "unknown strategy 'magic'; known strategies: full"),
        ("full,svm,full", "repeats a strategy"),
        ("svm", "no strategy with a mask"),
    ],
)
def test_strategies_that_cannot_be_compared_are_refused(text: str, message: str) -> None:
    assert strategy_names("full, svm") == ["full", "svm"]
    with pytest.raises(ConfigError, match=message):
        strategy_names(text)

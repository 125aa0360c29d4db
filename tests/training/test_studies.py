"""Cross-validation, comparison of strategies and learning curve, on generated tiles and hardly any steps."""

import json
from pathlib import Path

import numpy as np
import pytest

from training.__main__ import main
from training.datasets.magnetic_tile import write_generated

pytestmark = pytest.mark.slow

CONFIG = """
precision: 32-true
model: {tile: 128, overlap: 32, decoder_channels: [8, 8, 8, 8, 8]}
operating_point: {beta: 1}
small:
  name: study
  split: {train: 0.35, validation: 0.2, calibration: 0.2, test: 0.25}
  fit: {steps: 4, batch_size: 4, validate_every: 2, ema_decay: 0.5}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of tiles and a configuration of a tiny network."""
    root = tmp_path_factory.mktemp("study")
    write_generated(root / "tiles", count=60, seed=5)
    (root / "study.yaml").write_text(CONFIG)
    return root


def _command(root: Path, *words: str) -> list[str]:
    folders = ["--data", root / "tiles", "--runs", root / "runs", "--models", root / "models"]
    return [words[0], "--config", str(root / "study.yaml"), *map(str, folders), *words[1:]]


def test_every_fold_is_evaluated_and_the_figures_are_their_means(root: Path) -> None:
    assert main(_command(root, "cross-validate", "--folds", "2")) == 0
    run = root / "runs/study-1"
    result = json.loads((run / "cross-validation.json").read_text())
    assert list(result["per_fold"]) == ["repeat-0-fold-0", "repeat-0-fold-1"]
    values = [row["accuracy"] for row in result["per_fold"].values()]
    assert result["mean"]["accuracy"]["value"] == pytest.approx(np.mean(values), abs=1e-4)
    low, high = result["mean"]["accuracy"]["interval"]
    assert low <= np.mean(values) <= high
    listings = [json.loads((run / f"folds/repeat-0-fold-{k}/splits.json").read_text()) for k in (0, 1)]
    tested = [name for listing in listings for name in listing["test"]]
    assert len(tested) == len(set(tested)) == 60
    before = {path: path.stat().st_mtime_ns for path in run.glob("folds/*/fit/weights.safetensors")}
    assert len(before) == 2
    assert main(_command(root, "cross-validate", "--folds", "2")) == 0  # goes on where it was
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_strategies_are_compared_on_the_same_folds(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("compare", "--folds", "2", "--strategies", "decoder,svm")
    assert main(_command(root, *words)) == 0
    assert "Chosen: decoder" in capsys.readouterr().out
    result = json.loads((root / "runs/study-1/comparison.json").read_text())
    assert {(each["strategy"], each["fold"]) for each in result["results"]} == {
        (name, fold) for name in ("decoder", "svm") for fold in (0, 1)
    }
    assert all(each["seconds"] > 0 for each in result["results"])
    assert main(_command(root, "compare", "--strategies", "magic")) == 2
    assert "'magic' is no strategy" in capsys.readouterr().err


def test_learning_curve_begins_from_scratch_imagenet_and_a_bundle(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_command(root, "learning-curve", "--folds", "1")) == 2
    assert "give its bundle with --from" in capsys.readouterr().err
    large = (root / "study.yaml").read_text().replace("small:", "large:").replace("study", "first")
    (root / "large.yaml").write_text(large)
    folders = ["--large-data", root / "tiles", "--runs", root / "runs", "--models", root / "models"]
    assert main(["run", "--config", str(root / "large.yaml"), "--until", "export", *map(str, folders)]) == 0
    words = ("--folds", "1", "--shares", "0.5", "--from", str(root / "runs/first-1/bundle"))
    assert main(_command(root, "learning-curve", *words)) == 0
    assert "stage small takes from first 1" in capsys.readouterr().out
    result = json.loads((root / "runs/study-1/learning-curve.json").read_text())
    assert [row["beginning"] for row in result["means"]] == ["scratch", "imagenet", "large"]
    scratch = result["means"][0]
    assert scratch["steps_to_the_best_of_scratch"] in (2, 4)
    assert all(len(point["validation"]) == 2 for point in result["points"])
    assert "<svg" in (root / "runs/study-1/learning-curve.svg").read_text()

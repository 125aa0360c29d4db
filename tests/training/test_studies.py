"""Cross-validation, comparison of strategies and learning curve, from end to end on generated tiles.

The learning rate is next to nothing and the pixel threshold is high: masks of a network that knows nothing
would be noise, each of thousands of regions to measure; these are empty and fast.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.inspection.bundle.bundle import Bundle
from app.inspection.inference.session import OnnxSession
from training.__main__ import main
from training.data.layouts.magnetic_tile import write_generated
from training.run import MADE_WITH, WEIGHTS
from training.steps import export
from training.studies import learning_curve
from training.thresholds import operating_point

pytestmark = pytest.mark.slow

TILES = 60
CONFIG = """
precision: 32-true
model: {tile: 128, overlap: 32, decoder_channels: [8, 8, 8, 8, 8]}
operating_point: {beta: 1}
small:
  name: study
  split: {train: 0.35, validation: 0.2, calibration: 0.2, test: 0.25}
  fit: {steps: 4, batch_size: 4, validate_every: 2, learning_rate: 1.0e-7, ema_decay: 0.5}
"""


@pytest.fixture(scope="module", autouse=True)
def _empty_masks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operating_point, "PIXEL_THRESHOLDS", (0.5,))
        patch.setattr(export, "PARITY_IMAGES", 2)
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiles, a configuration of a tiny network, and its cross-validation with two folds."""
    root = tmp_path_factory.mktemp("study")
    write_generated(root / "tiles", count=TILES, seed=5)
    (root / "study.yaml").write_text(CONFIG)
    assert main(_command(root, "cross-validate", "--folds", "2")) == 0
    return root


def _command(root: Path, *words: str) -> list[str]:
    folders = ["--data", root / "tiles", "--runs", root / "runs", "--models", root / "models"]
    return [words[0], "--config", str(root / "study.yaml"), *map(str, folders), *words[1:]]


def test_every_picture_is_tested_once_and_the_figures_are_means_over_folds(root: Path) -> None:
    run = root / "runs/study-1"
    session = OnnxSession(Bundle.load(run / "folds/repeat-0-fold-0/bundle"), "cpu", 1)
    assert session.artifact.gate is None
    assert session.run(np.zeros((1, 128, 128, 1), np.uint8)).features.shape == (1, 0)
    result = json.loads((run / "cross-validation.json").read_text())
    assert list(result["per_fold"]) == ["repeat-0-fold-0", "repeat-0-fold-1"]
    values = [row["accuracy"] for row in result["per_fold"].values()]
    assert result["mean"]["accuracy"]["value"] == pytest.approx(np.mean(values), abs=1e-4)
    low, high = result["mean"]["accuracy"]["interval"]
    assert low <= np.mean(values) <= high
    listings = [json.loads((run / f"folds/repeat-0-fold-{k}/splits.json").read_text()) for k in (0, 1)]
    tested = [name for listing in listings for name in listing["test"]]
    assert len(tested) == len(set(tested)) == TILES


def test_finished_folds_are_not_fitted_again(root: Path) -> None:
    weights = list(root.glob("runs/study-1/folds/*/fit/weights.safetensors"))
    before = {path: path.stat().st_mtime_ns for path in weights}
    assert len(before) == 2
    assert main(_command(root, "cross-validate", "--folds", "2")) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_strategies_are_compared_on_the_same_folds(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = root / "runs/study-1"
    shutil.copytree(run / "folds", run / "strategies/full/folds")  # `full` is what the folds were fitted with
    words = ("compare", "--folds", "2", "--strategies", "full,svm")
    assert main(_command(root, *words)) == 0
    assert "Chosen: full" in capsys.readouterr().out
    results = json.loads((run / "comparison.json").read_text())["results"]
    assert {(each["strategy"], each["fold"]) for each in results} == {
        (name, fold) for name in ("full", "svm") for fold in (0, 1)
    }
    folds = json.loads((run / "cross-validation.json").read_text())["per_fold"]
    assert [each["auroc"] for each in results if each["strategy"] == "full"] == [
        row["auroc"] for row in folds.values()
    ]
    assert all(each["seconds"] > 0 for each in results)
    assert main(_command(root, "compare", "--strategies", "magic")) == 2
    assert "unknown strategy 'magic'" in capsys.readouterr().err


def test_learning_curve_begins_from_scratch_and_a_bundle(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(_command(root, "learning-curve", "--folds", "1")) == 2
    assert "give it with --from" in capsys.readouterr().err
    fold = root / "runs/study-1/folds/repeat-0-fold-0"  # it stands for a large stage
    large = Path(shutil.copytree(fold / "bundle", root / "large"))
    shutil.copyfile(fold / "fit" / WEIGHTS, large / WEIGHTS)
    shutil.copyfile(fold / "config.yaml", large / MADE_WITH)
    monkeypatch.setattr(learning_curve, "BEGINNINGS", ("scratch", "large"))  # the folds began from ImageNet
    words = ("--folds", "1", "--shares", "0.5", "--from", str(large))
    assert main(_command(root, "learning-curve", *words)) == 0
    assert "stage small takes from study 1" in capsys.readouterr().out
    result = json.loads((root / "runs/study-1/learning-curve.json").read_text())
    assert [row["beginning"] for row in result["means"]] == ["scratch", "large"]
    assert result["means"][0]["steps_to_the_best_of_scratch"] in (2, 4)
    assert all(list(map(int, point["validation"])) == [2, 4] for point in result["points"])
    assert "<svg" in (root / "runs/study-1/learning-curve.svg").read_text()

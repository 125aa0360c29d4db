"""Cross-validation, comparison of strategies and learning curve, on generated tiles and hardly any steps."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from training.__main__ import main
from training.config import FitConfig, ModelConfig, RunConfig
from training.datamodule import SurfaceDataModule
from training.datasets.magnetic_tile import write_generated
from training.pictures import LoadedPictures, Picture

pytestmark = pytest.mark.slow

CONFIG = """
precision: 32-true
devices: {devices}
model: {{tile: 64, overlap: 16, decoder_channels: [8, 8, 8, 8, 8]}}
operating_point: {{beta: 1}}
small:
  name: study-{devices}
  split: {{train: 0.35, validation: 0.2, calibration: 0.2, test: 0.25}}
  fit: {{steps: 4, batch_size: 4, validate_every: 2, ema_decay: 0.5}}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of tiles and a configuration of a tiny network."""
    root = tmp_path_factory.mktemp("study")
    write_generated(root / "tiles", count=100, seed=5)
    for devices in (1, 2):
        (root / f"study-{devices}.yaml").write_text(CONFIG.format(devices=devices))
    return root


def _command(root: Path, *words: str, devices: int = 1) -> list[str]:
    folders = ["--data", root / "tiles", "--runs", root / "runs", "--models", root / "models"]
    return [words[0], "--config", str(root / f"study-{devices}.yaml"), *map(str, folders), *words[1:]]


def test_every_fold_is_evaluated_and_the_figures_are_their_means(root: Path) -> None:
    assert main(_command(root, "cross-validate", "--folds", "2")) == 0
    run = root / "runs/study-1-1"
    result = json.loads((run / "cross-validation.json").read_text())
    assert list(result["per_fold"]) == ["repeat-0-fold-0", "repeat-0-fold-1"]
    values = [row["accuracy"] for row in result["per_fold"].values()]
    assert result["mean"]["accuracy"]["value"] == pytest.approx(np.mean(values), abs=1e-4)
    low, high = result["mean"]["accuracy"]["interval"]
    assert low <= np.mean(values) <= high
    listings = [json.loads((run / f"folds/repeat-0-fold-{k}/splits.json").read_text()) for k in (0, 1)]
    tested = [name for listing in listings for name in listing["test"]]
    assert len(tested) == len(set(tested)) == 100
    before = {path: path.stat().st_mtime_ns for path in run.glob("folds/*/fit/weights.safetensors")}
    assert len(before) == 2
    assert main(_command(root, "cross-validate", "--folds", "2")) == 0  # goes on where it was
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_strategies_are_compared_on_the_same_folds(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("compare", "--folds", "2", "--strategies", "decoder,svm")
    assert main(_command(root, *words)) == 0
    assert "Chosen: decoder" in capsys.readouterr().out
    result = json.loads((root / "runs/study-1-1/comparison.json").read_text())
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
    large = (root / "study-1.yaml").read_text().replace("small:", "large:").replace("study-1", "first")
    (root / "large.yaml").write_text(large)
    folders = ["--large-data", root / "tiles", "--runs", root / "runs", "--models", root / "models"]
    assert main(["run", "--config", str(root / "large.yaml"), "--until", "export", *map(str, folders)]) == 0
    words = ("--folds", "1", "--shares", "0.5", "--from", str(root / "runs/first-1/bundle"))
    assert main(_command(root, "learning-curve", *words)) == 0
    assert "stage small takes from first 1" in capsys.readouterr().out
    result = json.loads((root / "runs/study-1-1/learning-curve.json").read_text())
    assert [row["beginning"] for row in result["means"]] == ["scratch", "imagenet", "large"]
    scratch = result["means"][0]
    assert scratch["steps_to_the_best_of_scratch"] in (2, 4)
    assert all(len(point["validation"]) == 2 for point in result["points"])
    assert "<svg" in (root / "runs/study-1-1/learning-curve.svg").read_text()


def test_two_processes_train_together(root: Path) -> None:
    command = [sys.executable, "-m", "training", *_command(root, "run", "--until", "fit", devices=2)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "Starting with 2 processes" in done.stderr + done.stdout
    assert (done.stdout + done.stderr).count("step 4: validation Dice") == 1
    weights = load_file(root / "runs/study-2-1/fit/weights.safetensors")
    assert all(torch.isfinite(value).all() for value in weights.values())


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_devices_divide_one_draw(devices: int) -> None:
    rng = np.random.default_rng(1)
    pictures = LoadedPictures(
        Picture(rng.integers(0, 256, (64, 64), dtype=np.uint8), None, number % 2 == 0) for number in range(9)
    )
    config = RunConfig(
        stage="small",
        name="parts",
        model=ModelConfig(tile=64, overlap=16),
        fit=FitConfig(batch_size=4, steps=6, validate_every=3),
    )
    found = []
    for rank in range(devices):
        data = SurfaceDataModule(pictures, pictures, config)
        data.trainer = SimpleNamespace(current_epoch=1, global_rank=rank, world_size=devices)  # type: ignore[assignment]
        for batch in data.train_dataloader():
            assert len(batch["pixels"]) == 4 // devices
            found += [int(tile.sum()) for tile in batch["pixels"].int()]
    data.trainer = SimpleNamespace(current_epoch=1, global_rank=0, world_size=1)  # type: ignore[assignment]
    whole = [int(tile.sum()) for batch in data.train_dataloader() for tile in batch["pixels"].int()]
    assert sorted(found) == sorted(whole)
    assert len(whole) == 12

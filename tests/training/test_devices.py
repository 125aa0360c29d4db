"""Several devices: they divide one draw, and their processes train together."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from training.config import FitConfig, ModelConfig, RunConfig
from training.data.datamodule import SurfaceDataModule
from training.data.layouts.magnetic_tile import write_generated
from training.data.pictures import LoadedPictures, Picture

pytestmark = pytest.mark.slow

CONFIG = """
precision: 32-true
devices: {devices}
model: {{tile: 64, overlap: 16, decoder_channels: [8, 8, 8, 8, 8]}}
operating_point: {{beta: 1}}
small:
  name: devices-{devices}
  split: {{train: 0.35, validation: 0.2, calibration: 0.2, test: 0.25}}
  fit: {{steps: 4, batch_size: 4, validate_every: 2, ema_decay: 0.5}}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of tiles and a configuration of a tiny network."""
    root = tmp_path_factory.mktemp("devices")
    write_generated(root / "tiles", count=100, seed=5)
    for devices in (1, 2):
        (root / f"devices-{devices}.yaml").write_text(CONFIG.format(devices=devices))
    return root


def _command(root: Path, *words: str, devices: int = 1) -> list[str]:
    folders = ["--data", root / "tiles", "--runs", root / "runs", "--models", root / "models"]
    return [words[0], "--config", str(root / f"devices-{devices}.yaml"), *map(str, folders), *words[1:]]


def test_two_processes_train_together(root: Path) -> None:
    command = [sys.executable, "-m", "training", *_command(root, "run", "--until", "fit", devices=2)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "Starting with 2 processes" in done.stderr + done.stdout
    assert (done.stdout + done.stderr).count("step 4: validation Dice") == 1
    weights = load_file(root / "runs/devices-2-1/fit/weights.safetensors")
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

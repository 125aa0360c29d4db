"""How a fit ends that cannot go on, and what it says of how much is to go."""

import os
import signal
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest

from training.__main__ import Stopped, _stopped_by_sigterm
from training.config import FitConfig, ModelConfig, RunConfig
from training.data.datamodule import SurfaceDataModule
from training.data.pictures import LoadedPictures, Picture
from training.model.finetune import Progress, fit
from training.model.lightning_module import FitError
from training.model.segmenter import build_segmenter

MODEL = ModelConfig(
    encoder="resnet18", weights="none", decoder_channels=(8, 8, 8, 8, 8), tile=64, overlap=16, dropout=0
)


def _fit(directory: Path, *watchers: L.Callback, train: LoadedPictures | None = None, **changes: Any) -> Path:
    settings = FitConfig(batch_size=2, steps=4, validate_every=2, ema_decay=0.5)
    config = RunConfig(stage="small", name="parts", model=MODEL, precision="32-true", fit=settings)
    fitted: dict[str, Any] = {key: changes.pop(key) for key in ("learning_rate", "steps") if key in changes}
    config = config.model_copy(update={"fit": settings.model_copy(update=fitted)} | changes)
    data = SurfaceDataModule(train or _images(), _images(), config)
    return fit(build_segmenter(MODEL, 1, 1), data, config, directory, watchers)


def _images() -> LoadedPictures:
    random = np.random.default_rng(1)
    bits = np.zeros((64, 64), np.uint16)
    bits[10:20, 10:20] = 1
    return LoadedPictures(
        Picture(
            random.integers(0, 256, (64, 64), dtype=np.uint8), bits if number % 2 else None, number % 2 == 1
        )
        for number in range(4)
    )


def test_progress_counts_all_steps_and_tells_what_is_to_go(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _fit(tmp_path, Progress("fold 2 of 5"))
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("fold 2 of 5")]
    assert [line.partition(",")[0] for line in lines] == [
        "fold 2 of 5: step 2 of 4",
        "fold 2 of 5: step 4 of 4",
    ]
    assert lines[-1].endswith("at most 0 min left")


def test_a_loss_that_is_no_number_is_told_and_leaves_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(FitError, match=r"not a finite number .*lower fit\.learning_rate \(1e\+30\)"):
        _fit(tmp_path, learning_rate=1e30, steps=6)
    assert not list(tmp_path.rglob("*.ckpt"))
    assert not list(tmp_path.rglob("*.safetensors"))


class _Dying(LoadedPictures):
    """Images that end the process that augments them, as a full shared memory does."""

    def __getitem__(self, index: object) -> Picture:  # type: ignore[override]
        os.kill(os.getpid(), signal.SIGBUS)
        raise AssertionError


def test_too_little_shared_memory_is_told(tmp_path: Path) -> None:
    with pytest.raises(FitError, match=r"shared memory is too small: set workers: 0 .now 1., or give more"):
        _fit(tmp_path, train=_Dying(_images()), workers=1)


class _Terminated(L.Callback):
    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        if trainer.global_step == 3:
            os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_ends_a_fit_that_goes_on_afterwards(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Stopped), _stopped_by_sigterm():
        _fit(tmp_path, _Terminated())
    assert not (tmp_path / "weights.safetensors").exists()
    capfd.readouterr()
    assert _fit(tmp_path, Progress()).is_file()
    assert "step 2 of 4" not in capfd.readouterr().out  # it goes on from the first epoch's end

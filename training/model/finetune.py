"""One stage of fine-tuning with Lightning; the best averaged weights by validation are kept."""

import json
import os
import pickle
import re
import shutil
import time
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
)
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from safetensors.torch import save_file

from training.config import ConfigError, RunConfig
from training.data.datamodule import SurfaceDataModule
from training.files import MLFLOW_RUN, write_text, written_whole
from training.model.cpu_speed import computed_precision, depthwise_in_float32, keep_freed_memory
from training.model.lightning_module import FineTuning, FitError
from training.model.segmenter import Segmenter

EXPECTED_WARNINGS = (
    "Checkpoint directory .* exists and is not empty",  # a resumed fit
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own use of torch
    "The '.*_dataloader' does not have many workers",  # images are in memory, augmentation is cheap
)

SHARED_MEMORY = re.compile("shared memory|shm|DataLoader worker")  # in torch's message if it runs out
COST = "cost.json"
MLFLOW_SERVER = "MLFLOW_TRACKING_URI"  # MLflow's own variable


class Progress(L.Callback):
    """Progress of a fit: a bar on a terminal, otherwise a line for each epoch."""

    def __init__(self, name: str = "fit") -> None:
        self._name = name

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the bar at the step where a resumed fit continues."""
        hidden = None if trainer.is_global_zero else True  # None: show it on a terminal only
        self._started, self._first = time.monotonic(), trainer.global_step
        self._bar = Tqdm(
            total=trainer.max_steps, initial=self._first, desc=self._name, unit="step", disable=hidden
        )

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Move the bar."""
        self._bar.update(trainer.global_step - self._bar.n)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the step and the time left; it is an upper limit, as the fit may stop early."""
        fresh = trainer.global_step > self._first  # a resumed fit ends its last epoch again
        if trainer.is_global_zero and self._bar.disable and fresh:
            print(f"{self._name}: {self._remaining(trainer.global_step, trainer.max_steps)}", flush=True)

    def _remaining(self, step: int, steps: int) -> str:
        """The number of steps done, and the time left."""
        each = (time.monotonic() - self._started) / max(1, step - self._first)
        return f"step {step} of {steps}, at most {(steps - step) * each / 60:.0f} min left"

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Close the bar."""
        self._bar.close()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar."""
        self._bar.close()


def fit(
    segmenter: Segmenter,
    data: SurfaceDataModule,
    config: RunConfig,
    directory: Path,
    callbacks: Sequence[L.Callback] = (),
) -> Path:
    """Fine-tune and write the best averaged weights to `directory/weights.safetensors`; return that path.

    `callbacks` must keep no state. A killed fit continues after its last finished epoch when called again
    with the same directory.
    """
    started = time.monotonic()
    L.seed_everything(config.seed, workers=True)
    keep_freed_memory()
    depthwise_in_float32(segmenter)
    module = FineTuning(segmenter.to(memory_format=torch.channels_last), config.fit)
    checkpoints = directory / "checkpoints"
    choosing = _choice_of_checkpoint(config, checkpoints)
    trainer = _trainer(config, directory, module, data, [*choosing, *callbacks])
    last = checkpoints / "last.ckpt"
    if last.exists():
        _load_checkpoint(last)  # here, because inside the fit the error of a truncated file is ambiguous
    with warnings.catch_warnings(), _explained_errors(config, checkpoints):
        for message in EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message)
        trainer.fit(module, data, ckpt_path=last if last.exists() else None, weights_only=False)
    best = next((each.best_model_path for each in choosing if isinstance(each, ModelCheckpoint)), "")
    weights = _segmenter_weights(Path(best) if best else last)
    _write_cost(directory, time.monotonic() - started)
    path = directory / "weights.safetensors"
    with written_whole(path) as partial:
        save_file(weights, partial)
    return path


def _trainer(
    config: RunConfig,
    directory: Path,
    module: FineTuning,
    data: SurfaceDataModule,
    callbacks: Sequence[L.Callback],
) -> L.Trainer:
    return L.Trainer(
        max_steps=config.fit.steps,
        precision=computed_precision(config.precision),
        logger=loggers(config, directory),
        devices=config.devices,
        strategy=_distribution(config, module),
        sync_batchnorm=config.devices > 1 and torch.cuda.is_available(),  # torch has it for GPUs only
        use_distributed_sampler=False,  # the data module divides the images; each device validates all
        callbacks=[
            EMAWeightAveraging(decay=config.fit.ema_decay),
            LearningRateMonitor("step"),
            *callbacks,
        ],
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        limit_val_batches=1.0 if data.validates else 0,
        log_every_n_steps=min(10, config.fit.validate_every),
        enable_model_summary=False,
        enable_progress_bar=False,  # it shows single epochs
    )


def _segmenter_weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The weights of the segmenter in a checkpoint, by their names in the segmenter."""
    prefix = "segmenter."
    return {
        key.removeprefix(prefix): value.contiguous()
        for key, value in _load_checkpoint(checkpoint)["state_dict"].items()
        if key.startswith(prefix)
    }


@contextmanager
def _explained_errors(config: RunConfig, checkpoints: Path) -> Iterator[None]:
    """Turn errors caused by the machine or the settings into FitError, which says what to change.

    The checkpoints of a fit whose loss is not finite are removed, because continuing from them fails again.
    """
    try:
        yield
    except FitError:
        shutil.rmtree(checkpoints, ignore_errors=True)
        raise
    except torch.OutOfMemoryError as error:
        raise FitError(
            f"the GPU's memory is too small: lower fit.batch_size ({config.fit.batch_size}) or model.tile "
            f"({config.model.tile}), or free it of other processes"
        ) from error
    except Exception as error:  # with several devices, the error of a process arrives as text
        if "FitError: " in str(error):
            shutil.rmtree(checkpoints, ignore_errors=True)
            raise FitError(str(error).rpartition("FitError: ")[2].strip()) from error
        if not SHARED_MEMORY.search(str(error)):
            raise
        cause = str(error).strip().splitlines()[0]
        raise FitError(
            f"a process that augments images ended ({cause}); often, shared memory is too small: "
            f"set workers: 0 (now {config.workers}), or give more, such as docker run --shm-size 2g"
        ) from error


def _choice_of_checkpoint(config: RunConfig, folder: Path) -> list[L.Callback]:
    """Keep the best checkpoint by validation, or the last in a cross-fitted run, which has no validation."""
    if config.split.folds is not None:
        return [ModelCheckpoint(folder, save_top_k=0, save_last=True, save_on_train_epoch_end=True)]
    # Both act on validation, because a resumed fit ends its last epoch again without a new score.
    best = ModelCheckpoint(
        folder,
        "best",
        monitor="validation/score",
        mode="max",
        save_last=True,
        save_on_train_epoch_end=False,
    )
    patience = config.fit.patience
    early = EarlyStopping("validation/score", mode="max", patience=patience, check_on_train_epoch_end=False)
    return [early, best]


def _write_cost(directory: Path, seconds: float) -> None:
    """Write the time of the fit since its last start, and its GPU memory, for comparisons."""
    gpu = torch.cuda.is_available()
    cost = {"seconds": seconds, "gpu_gib": torch.cuda.max_memory_allocated() / 2**30 if gpu else None}
    write_text(directory / COST, json.dumps(cost) + "\n")


def _distribution(config: RunConfig, module: FineTuning) -> str | DDPStrategy:
    """One forked process per device, so that they share the images in memory."""
    if config.devices == 1:
        return "auto"
    return DDPStrategy(start_method="fork", find_unused_parameters=module.training_plan.changes)


def _load_checkpoint(path: Path) -> Any:
    """Read a checkpoint of Lightning; raises ConfigError if it is truncated, as after a killed run."""
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"{path} is not readable ({error}); remove the folder {path.parent} to fit this stage again"
        ) from error


def loggers(config: RunConfig, directory: Path) -> list[Logger]:
    """Return the loggers of a fit that works in `directory`.

    Raises ConfigError if MLFLOW_TRACKING_URI is set, but MLflow is not installed or does not answer.
    """
    tensorboard = TensorBoardLogger(directory, name=None, version="logs")
    server = os.environ.get(MLFLOW_SERVER)
    return [tensorboard, _mlflow(config, directory, server)] if server else [tensorboard]


def _mlflow(config: RunConfig, directory: Path, server: str) -> MLFlowLogger:
    try:
        from mlflow.exceptions import MlflowException
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{MLFLOW_SERVER} is set, but MLflow is not installed: pip install mlflow-skinny, or unset it"
        ) from error
    known = directory / MLFLOW_RUN
    try:
        logger = MLFlowLogger(
            experiment_name=config.name,
            run_name=f"{config.name} {config.version}",
            tracking_uri=server,
            run_id=known.read_text(encoding="utf-8") if known.exists() else None,
        )
        logger.log_hyperparams(config.model_dump(mode="json"))
    except MlflowException as error:
        raise ConfigError(f"{MLFLOW_SERVER}: {error}") from error
    write_text(known, str(logger.run_id))
    return logger

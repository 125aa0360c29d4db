"""One run of the pipeline: its inputs, and the folders of its results."""

import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from app.inspection.bundle.bundle import Bundle
from training.config import Config, ConfigError, RunConfig, StageName
from training.config_files import inherited, load_run_config, settle
from training.data.contents import CONTENTS
from training.data.splits import Fold
from training.files import MLFLOW_RUN, sha256_of, write_text

# Files of a bundle from which other runs can start.
WEIGHTS = "weights.safetensors"
MADE_WITH = "training.yaml"
CONFIG = "config.yaml"  # in a run's folder
START = "start.sha256"  # there too: hash of the weights it starts from
SPLITS = "splits.json"
FOLDS = "folds"  # a folder of a run, and of a bundle with the weights of each fold
_PREPARED = {CONFIG, START, SPLITS, CONTENTS, MLFLOW_RUN}  # files written before anything is fitted


@dataclass(frozen=True)
class Run:
    """One stage: its configuration, data root, working folder and the folder bundles are published to.

    `start` is the bundle whose weights it starts from. A fold uses the weights of the same fold there, which
    were not fitted to its images, or else those of the bundle. With `fold`, the run is one fold of a
    cross-validation. `command` is recorded in the evaluation. `replace` overwrites a published version.
    `comparison` is the folder of a run split by image, `cross_validation` that of a cross-validation; their
    figures are published with this run's.
    """

    config: RunConfig
    data: Path
    directory: Path
    models: Path
    command: str
    start: Path | None = None
    fold: Fold | None = None
    replace: bool = False
    comparison: Path | None = None
    cross_validation: Path | None = None

    @property
    def bundle(self) -> Path:
        """The folder of the bundle before publication."""
        return self.directory / "bundle"

    @property
    def weights(self) -> Path:
        """The file for the fitted weights."""
        return self.directory / "fit" / WEIGHTS

    @property
    def start_weights(self) -> Path | None:
        """The weights it starts from."""
        if self.start is None:
            return None
        of_fold = None if self.fold is None else self.start / FOLDS / self.fold.name / WEIGHTS
        return of_fold if of_fold is not None and of_fold.is_file() else self.start / WEIGHTS

    @property
    def is_prepared_only(self) -> bool:
        """Whether nothing was fitted in its folder yet, so that another run may take it."""
        files = (path for path in self.directory.rglob("*") if not path.is_dir())
        return all(
            path.name in _PREPARED or path.parent.name == "logs" or path.suffix == ".partial"
            for path in files
        )

    def claim(self) -> None:
        """Claim the folder for this run.

        Raises ConfigError if something was fitted in it with another configuration or from other weights.
        """
        start = self.start_weights
        weights = sha256_of(start) if start is not None and start.is_file() else "none"
        if refusal := self._refusal(weights):
            if not self.is_prepared_only:
                raise ConfigError(f"{refusal}; give another --runs folder or remove this one")
            shutil.rmtree(self.directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        write_text(self.directory / START, f"{weights}\n")
        write_text(self.directory / CONFIG, made_with(self.config))

    def _refusal(self, weights: str) -> str | None:
        """Why the folder belongs to another run; None if it does not."""
        start, config = self.directory / START, self.directory / CONFIG
        if start.exists() and start.read_text(encoding="utf-8").strip() != weights:
            return f"{start} is of other weights to start from"
        if config.exists() and _written(config) != self.config:
            return f"{config} is of another configuration"
        return None

    def of_folds(self, count: int, repeats: int = 1) -> list["Run"]:
        """The runs of a cross-validation, each in its own folder below this one's.

        A fold only measures the fit, so it has no input gate and no artifact other than fp32.
        """
        bare = self.config.model_copy(update={"gate": None, "artifacts": ("fp32",), "test_parity": False})
        turns = [Fold(number, count, repeat) for repeat in range(repeats) for number in range(count)]
        return [
            replace(self, config=bare, fold=fold, directory=self.directory / FOLDS / fold.name)
            for fold in turns
        ]


def made_with(config: RunConfig) -> str:
    """A run's configuration as YAML."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def placeless(config: RunConfig) -> RunConfig:
    """The configuration for publication: a weights file by its name, without its local path."""
    model = config.model.model_copy(update={"weights": Path(config.model.weights).name})
    return config.model_copy(update={"model": model})


@dataclass(frozen=True)
class Request:
    """A user's request: a configuration, the data root of each stage, and the output folders."""

    config: Config
    data: dict[StageName, Path | None]
    start: Path | None
    runs: Path
    models: Path
    command: str
    replace: bool = False
    comparison: Path | None = None
    cross_validation: Path | None = None

    def plan(self) -> list[Run]:
        """Return the runs in order: `large`, unless a bundle to start from is given, then `small`.

        Raises ConfigError if the data of a stage or the weights to start from are missing.
        """
        runs: list[Run] = []
        start, made = self.start, None if self.start is None else _made(self.start)
        for stage in self._stages():
            data = self.data[stage]
            if data is None:
                raise ConfigError(_NO_DATA[stage])
            data = data.resolve()
            name = re.sub(r"[^a-z0-9]+", "-", data.name.lower()).strip("-")[:64]
            config = settle(self.config, stage, name or "parts", made)
            if made is not None:
                print(inherited(self.config, config, made), flush=True)
            run = Run(
                config=config,
                data=data,
                directory=self.runs / f"{config.name}-{config.version}",
                models=self.models,
                command=self.command,
                start=start,
                replace=self.replace,
                comparison=self.comparison if stage == "small" else None,
                cross_validation=self.cross_validation if stage == "small" else None,
            )
            runs.append(run)
            start, made = run.bundle, config
        return runs

    def _stages(self) -> list[StageName]:
        stages: list[StageName] = []
        if self.config.large is not None and (self.start is None or self.config.small is None):
            stages.append("large")
        if self.config.small is not None:
            stages.append("small")
        return stages


_NO_DATA: dict[StageName, str] = {
    "large": "the configuration has a large stage; give its data with --large-data, "
    "or a bundle to start from with --from",
    "small": "give the root of the images with --data",
}


def _made(bundle: Path) -> RunConfig:
    """The configuration of a bundle's weights; raises ConfigError if it has none, or BundleError."""
    for name in (MADE_WITH, WEIGHTS):
        if not (bundle / name).is_file():
            raise ConfigError(
                f"{bundle / name} is missing; --from takes a bundle published with its weights, such as "
                "models/surface-large/4 or one that you have trained with this version"
            )
    Bundle.load(bundle)  # checked here, because it is needed only after the fit, which takes hours
    return load_run_config(bundle / MADE_WITH)


def _written(path: Path) -> RunConfig:
    """The configuration in a run's folder."""
    try:
        return load_run_config(path)
    except ConfigError as error:
        raise ConfigError(f"{error}; remove {path} if the folder is of this configuration") from error

"""One run of the pipeline: what it is given and where its results go."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from app.inspection.bundle.bundle import Bundle
from training.config import Config, ConfigError, RunConfig, StageName
from training.config_files import inherited, load_run_config, settle
from training.data.splits import Fold
from training.files import sha256_of, write_text

# What a bundle holds besides, so that others can start from it.
WEIGHTS = "weights.safetensors"
MADE_WITH = "training.yaml"
CONFIG = "config.yaml"  # in a run's folder
START = "start.sha256"  # there too: of the weights it starts from


@dataclass(frozen=True)
class Run:
    """One stage: its configuration, data root, working folder and the folder bundles are published to.

    `start` is the bundle whose weights it starts from. `fold` makes it one turn of a cross-validation.
    `command` is told in the evaluation. `replace` overwrites a published version; `comparison` is the folder
    of a run split by picture, `cross_validation` that of one: their figures are published beside this one's.
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
        """The bundle in the making."""
        return self.directory / "bundle"

    @property
    def weights(self) -> Path:
        """Where the fit leaves its weights."""
        return self.directory / "fit" / WEIGHTS

    def claim(self) -> None:
        """Make the folder this run's own; raises ConfigError if it holds another configuration or start."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._claim_start()
        path = self.directory / CONFIG
        if path.exists() and _written(path) != self.config:
            raise ConfigError(
                f"{path} is of another configuration; give another --runs folder or remove this one"
            )
        write_text(path, made_with(self.config))

    def _claim_start(self) -> None:
        path, start = self.directory / START, "none"
        if self.start is not None and (self.start / WEIGHTS).is_file():
            start = sha256_of(self.start / WEIGHTS)
        if path.exists() and path.read_text(encoding="utf-8").strip() != start:
            raise ConfigError(
                f"{path} is of other weights to start from; give another --runs folder or remove this one"
            )
        write_text(path, f"{start}\n")

    def of_folds(self, count: int, repeats: int = 1) -> list["Run"]:
        """The runs of a cross-validation, each in a folder of its own below this one's.

        A fold measures the fit and ships nothing, so it has neither an input gate nor artifacts beside fp32.
        """
        bare = self.config.model_copy(update={"gate": None, "artifacts": ("fp32",), "test_parity": False})
        turns = [Fold(number, count, repeat) for repeat in range(repeats) for number in range(count)]
        return [
            replace(self, config=bare, fold=fold, directory=self.directory / "folds" / fold.name)
            for fold in turns
        ]


def made_with(config: RunConfig) -> str:
    """A run's configuration as YAML."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


@dataclass(frozen=True)
class Request:
    """What a user asks for: a configuration, the data root of each stage, and where everything goes."""

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

        Raises ConfigError where the data of a stage or the weights to start from are missing.
        """
        runs: list[Run] = []
        start, made = self.start, None if self.start is None else _made(self.start)
        for stage in self._stages():
            data = self.data[stage]
            if data is None:
                raise ConfigError(_NO_DATA[stage])
            name = re.sub(r"[^a-z0-9]+", "-", data.resolve().name.lower()).strip("-")[:64]
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
    "or with --from a bundle to start from",
    "small": "give the root of the pictures with --data",
}


def _made(bundle: Path) -> RunConfig:
    """What the weights of a bundle were made with; raises ConfigError where it has none, BundleError."""
    for name in (MADE_WITH, WEIGHTS):
        if not (bundle / name).is_file():
            raise ConfigError(
                f"{bundle / name} is missing; --from takes a bundle that was published with its weights, "
                "such as models/surface-large/3"
            )
    Bundle.load(bundle)  # its manifest is needed after the fit, which takes hours
    return load_run_config(bundle / MADE_WITH)


def _written(path: Path) -> RunConfig:
    """The configuration that a run has left in its folder."""
    try:
        return load_run_config(path)
    except ConfigError as error:
        raise ConfigError(f"{error}; remove {path} if the folder is of this configuration") from error

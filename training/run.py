"""One run of the pipeline: what it is given and where its results go."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from training.bundle_files import write_text
from training.config import Config, ConfigError, load_config


@dataclass(frozen=True)
class Run:
    """One run: its configuration, data roots, working folder and the folder bundles are published to.

    `replace` overwrites a published version; `comparison` is the folder of a run split by picture, whose
    figures are published beside this one's.
    """

    config: Config
    config_name: str
    data: Path
    large_data: Path | None
    directory: Path
    models: Path
    replace: bool = False
    comparison: Path | None = None

    @property
    def bundle(self) -> Path:
        """The bundle in the making."""
        return self.directory / "bundle"

    def weights(self, stage: str) -> Path:
        """Where a stage leaves its weights."""
        return self.directory / stage / "weights.safetensors"

    def claim(self) -> None:
        """Make the folder this configuration's own; raises ConfigError if it holds another run."""
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / "config.yaml"
        text = yaml.safe_dump(self.config.model_dump(mode="json"), sort_keys=False)
        if path.exists() and _written(path) != self.config:
            raise ConfigError(
                f"{path} is of another configuration; give another --run folder or remove this one"
            )
        write_text(path, text)


def _written(path: Path) -> Config:
    """The configuration that a run has left in its folder."""
    try:
        return load_config(path)
    except ConfigError as error:
        raise ConfigError(f"{error}; remove {path} if the folder is of this configuration") from error

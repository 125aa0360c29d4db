"""Writes the files of a run and its bundle atomically, and reads those of the run."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file

from app.inspection.bundle.bundle import MANIFEST, Bundle
from app.inspection.rules.recipe import Recipe
from training.config import ConfigError

EVALUATION = "evaluation.json"  # in a bundle
REPORT = "evaluation.html"  # beside it, as a page
ARTIFACTS = "artifacts.json"  # in a run's folder: trials of other artifacts than fp32
MLFLOW_RUN = "mlflow-run"  # there too: the run's id, with which a resumed fit continues
CALIBRATION = "calibration.json"  # there too: report of the probability calibration of fp32


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path to write to, renamed to `path` at the end; a killed run leaves no truncated file."""
    partial = path.with_name(f".{path.name}.partial")
    yield partial
    partial.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file of a run; raises ConfigError with its path if it is truncated or invalid."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or not UTF-8
        raise ConfigError(
            f"{path} is not readable ({error}); remove it, so that it is written again"
        ) from error


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the weights of a stage; raises ConfigError with the path if they are truncated or invalid."""
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ConfigError(f"{path} is not readable ({error}); remove it to run that stage again") from error


def write_manifest(directory: Path, bundle: Bundle) -> None:
    """Write bundle.json."""
    write_text(directory / MANIFEST, bundle.model_dump_json(indent=2) + "\n")


def write_recipe(path: Path, recipe: Recipe) -> bytes:
    """Write a recipe as YAML without its unset fields; return the bytes."""
    write_text(path, yaml.safe_dump(recipe.model_dump(mode="json", exclude_unset=True), sort_keys=False))
    return path.read_bytes()


def require(path: Path, step: str) -> None:
    """Raise ConfigError if the result of an earlier step is missing."""
    if not path.is_file():
        raise ConfigError(f"{path} is missing; run the step {step} first")


def write_json(path: Path, value: object) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")

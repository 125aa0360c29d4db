"""Writing the files of a run and its bundle, whole or not at all, and reading the run's back."""

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
ARTIFACTS = "artifacts.json"  # in a run's folder: what was tried beside fp32
CALIBRATION = "calibration.json"  # how well the probabilities of fp32 are calibrated


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a path to write to that becomes `path` at the end: a killed run must not leave a cut file."""
    partial = path.with_name(f".{path.name}.partial")
    yield partial
    partial.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file that a run has written; raises ConfigError naming it where it is cut or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise ConfigError(f"{path} is not readable ({error}); remove it to have it written again") from error


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read weights that a stage has left; raises ConfigError naming the file where it is cut or broken."""
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ConfigError(f"{path} is not readable ({error}); remove it to do that stage again") from error


def write_manifest(directory: Path, bundle: Bundle) -> None:
    """Write bundle.json."""
    write_text(directory / MANIFEST, bundle.model_dump_json(indent=2) + "\n")


def write_recipe(path: Path, recipe: Recipe) -> bytes:
    """Write a recipe as YAML without its unset fields; return the bytes."""
    write_text(path, yaml.safe_dump(recipe.model_dump(mode="json", exclude_unset=True), sort_keys=False))
    return path.read_bytes()


def require(path: Path, step: str) -> None:
    """Raise ConfigError where the result of an earlier step is missing."""
    if not path.is_file():
        raise ConfigError(f"{path} is missing; run the step {step} first")


def write_json(path: Path, value: object) -> None:
    """Write a file in one go."""
    write_text(path, json.dumps(value, indent=2) + "\n")

"""Writing a bundle's files."""

import hashlib
from pathlib import Path

import yaml

from app.inspection.bundle import MANIFEST, Bundle
from app.inspection.recipe import Recipe


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_manifest(directory: Path, bundle: Bundle) -> None:
    """Write bundle.json."""
    (directory / MANIFEST).write_text(bundle.model_dump_json(indent=2) + "\n")


def write_recipe(path: Path, recipe: Recipe) -> bytes:
    """Write a recipe as YAML without its unset fields; return the bytes."""
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json", exclude_none=True), sort_keys=False))
    return path.read_bytes()

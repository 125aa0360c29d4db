"""Bundles and inspectors that the core's tests share."""

from pathlib import Path

import pytest

from app.inspection.inspector import Inspector
from tests.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="session")
def bundle_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny bundle of the classes `dark` and `bright`, for reading only."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="session")
def inspector(bundle_dir: Path) -> Inspector:
    """An inspector on the CPU, on one thread."""
    return Inspector.load(bundle_dir, device="cpu", threads=1)

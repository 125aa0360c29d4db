"""A tiny real bundle, a good image, and callers of several addresses of this machine."""

from pathlib import Path

import pytest

from tests.tiny_bundle import png, tiny_picture, write_tiny_bundle


@pytest.fixture(scope="session")
def bundle_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="session")
def clean() -> bytes:
    """An image without a defect."""
    return png(tiny_picture(96, 80))

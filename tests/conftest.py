"""Options of the test run."""

import os
import shutil
from tempfile import mkdtemp

import pytest

import app  # noqa: F401  # before any test imports ONNX Runtime: it switches the telemetry off


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--data ROOT`: the real magnetic tiles, for the tests that need them."""
    parser.addoption(
        "--data",
        metavar="ROOT",
        default=os.environ.get("PASSLINE_DATA") or None,
        help="root of the magnetic tiles (default: $PASSLINE_DATA); without it tests on them skip",
    )


def pytest_configure() -> None:
    """No test writes into the folder of data of this project, or keeps inspections without saying so.

    This is for fixtures of modules; a test has a folder of its own.
    """
    os.environ["PASSLINE_DATA_DIR"] = mkdtemp(prefix="passline-tests-")
    os.environ["PASSLINE_HISTORY"] = "off"


def pytest_unconfigure() -> None:
    """Remove that folder."""
    shutil.rmtree(os.environ["PASSLINE_DATA_DIR"], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first, so that processes beside each other end together."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True)
def _data_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service keeps what it stores in a folder of the test."""
    monkeypatch.setenv("PASSLINE_DATA_DIR", str(tmp_path_factory.mktemp("data") / "passline"))

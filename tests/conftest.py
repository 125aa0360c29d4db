"""Options of the test run."""

import os

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first, so that processes beside each other end together."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True)
def _data_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service keeps what it stores in a folder of the test, and no inspections unless the test says so."""
    monkeypatch.setenv("PASSLINE_DATA_DIR", str(tmp_path_factory.mktemp("data") / "passline"))
    monkeypatch.setenv("PASSLINE_HISTORY", "off")

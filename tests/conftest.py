"""Options of the test run."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--data ROOT`: the real magnetic tiles, for the tests that need them."""
    parser.addoption(
        "--data", metavar="ROOT", help="root of the magnetic tiles; without it tests on them skip"
    )

"""docs/api.md: every example in it is run against a real service, every field of the answer is told of."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from app.examples import INSPECTION
from app.service import Service
from app.settings import Settings
from tests.app.serving import ROOT, Running
from tests.tiny_bundle import png

PAGE = (ROOT / "docs" / "api.md").read_text()
EXAMPLES = re.findall(r"^```(sh|python)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, dark: bytes, clean: bytes) -> Path:
    """A folder with the files that the examples name."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "tile.png").write_bytes(dark)
    (folder / "tile-2.png").write_bytes(clean)
    (folder / "tile.mask.png").write_bytes(png(np.zeros((96, 80), np.uint8)))
    return folder


@pytest.mark.parametrize(("language", "example"), EXAMPLES)
def test_examples_run_as_they_stand(server: Running, desk: Path, language: str, example: str) -> None:
    assert ADDRESS in example
    command = ["bash", "-ec"] if language == "sh" else [sys.executable, "-W", "error", "-c"]
    done = subprocess.run(
        [*command, example.replace(ADDRESS, server.url)], cwd=desk, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "urn:passline:problem" not in done.stdout
    assert "fail ['dark']" in done.stdout if language == "python" else done.stdout.startswith("{")


def test_every_field_of_the_answer_is_told_of() -> None:
    for key in (*INSPECTION, *INSPECTION["defects"][0], *INSPECTION["reasons"][0], *INSPECTION["timings_ms"]):
        assert re.search(rf"`[^`]*\b{key}\b[^`]*`", PAGE), key


def test_every_metric_is_told_of() -> None:
    for family in Service(Settings()).metrics.registry.collect():
        assert family.name.removeprefix("passline_queue") in PAGE, family.name

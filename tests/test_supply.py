"""Dependencies: OpenCV's libraries for video and networks are never called, and licences are listed."""

import ast
import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.test_packaging import pins

ROOT = Path(__file__).parents[1]
# OpenCV's functions that open files, devices or network streams, or run models
FORBIDDEN = re.compile(
    r"Video|videoio|dnn|imread|imwrite|animation|FileStorage|haveImage|imcount|Stitcher|ml$|gapi|utils"
)
UNUSED = re.compile(r"lib(av(codec|format|util|device|filter)|sw(scale|resample)|ssl|crypto)-")
LOADED, INSPECTED = "=== loaded", "=== inspected"
INSPECT = f"""
import os, sys
sys.setdlopenflags(os.RTLD_LAZY)  # so that a function is bound when it is first called
import cv2
import numpy as np
def mark(text):
    os.write(2, (text + "\\n").encode())
mark("{LOADED}")
from pathlib import Path
from app.inspection import Inspector
from app.inspection.bundle.bundle import Bundle
from app.inspection.decoding.raw import RawFrame
from app.jobs.answers import inspect_job
from app.jobs.job import Job, Upload
from app.schemas.inspections import Options
from tests.tiny_bundle import tiny_picture, write_tiny_bundle
from PIL import Image
import io
inspector = Inspector.load(write_tiny_bundle(Path(sys.argv[1]) / "tiny"), device="cpu", threads=1)
recipe = inspector.bundle.default_recipe
grey = tiny_picture(96, 80, (20, 30, 12, 9))
uploads = [RawFrame(grey.tobytes(), 80, 96, "Mono8")]
kinds = [("png", {{}}), ("jpeg", {{}}), ("jpeg", {{"progressive": True}}), ("bmp", {{}}), ("tiff", {{}})]
for kind, options in (*kinds, ("tiff", {{"compression": "tiff_lzw"}})):
    file = io.BytesIO()
    Image.fromarray(grey).save(file, kind, **options)
    uploads.append(file.getvalue())
deep = io.BytesIO()
Image.fromarray(grey.astype(np.uint16) * 257).save(deep, "png")
uploads.append(deep.getvalue())
mask = io.BytesIO()
Image.fromarray((grey < 60).astype(np.uint8) * 255).save(mask, "png")
for upload in uploads:
    for form in ("png", "rle", "polygons"):
        options = Options(mask=form, overlay=True, heatmap=True, certificate=True)
        inspect_job(Job(inspector, recipe, Upload("x", upload, mask.getvalue()), options))
mark("{INSPECTED}")
cv2.VideoCapture("/nonexistent.mp4")
"""


def bound(log: str) -> list[str]:
    """The functions that OpenCV's module bound in its libraries for video and networks."""
    lines = [line for line in log.splitlines() if "binding file" in line and "/cv2.abi3.so" in line]
    return [line.rpartition("`")[2] for line in lines if UNUSED.search(line.partition(" to ")[2])]


def test_no_inspection_calls_the_libraries_for_video_and_networks(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "LD_BIND_NOW"}
    environment |= {"LD_DEBUG": "bindings", "LD_DEBUG_OUTPUT": "", "PYTHONPATH": str(ROOT)}
    del environment["LD_DEBUG_OUTPUT"]
    command = [sys.executable, "-c", INSPECT, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, cwd=ROOT, check=False)
    log = done.stderr.decode(errors="replace")
    assert done.returncode == 0, log[-3000:]
    inspecting, opening_a_video = log.partition(LOADED)[2].split(INSPECTED)
    assert bound(opening_a_video), "the log would not show a call"
    assert bound(inspecting) == []


def test_the_code_names_no_function_of_opencv_for_files_video_or_networks() -> None:
    for path in (ROOT / "app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "cv2"
            ):
                assert not FORBIDDEN.search(node.attr), (path, node.attr)
            assert not (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cv2")), path


def test_the_statement_for_scanners_is_of_the_locked_version() -> None:
    statement = json.loads((ROOT / "docker/opencv.openvex.json").read_text())
    locked = f"pkg:pypi/opencv-python-headless@{pins('serve-cpu')['opencv-python-headless']}"
    products = {each["@id"] for one in statement["statements"] for each in one["products"]}
    assert products == {locked}
    assert version("opencv-python-headless") in locked


@pytest.fixture(scope="module")
def listed() -> str:
    command = [sys.executable, str(ROOT / "docker/third_party.py")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_every_package_that_is_shipped_has_its_licence_listed(listed: str) -> None:
    licences = dict(re.findall(r"^([\w.-]+) \S+: (.+)$", listed.partition("\n=====")[0], re.M))
    licences = {re.sub(r"[-_.]+", "-", name).lower(): text for name, text in licences.items()}
    missing = set(pins("serve-cpu")) - set(licences)
    assert not missing
    assert "passline" not in licences
    assert "LICENSE-3RD-PARTY.txt" in listed, "of the libraries inside OpenCV's wheel"

"""Everything else that datumaro reads, by the name of its format, in an environment of its own.

Datumaro needs other releases of OpenCV and more than Passline does, so it runs as a process of its own, and
hands over one line of JSON for each image.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from training.data.annotations import CocoRuns
from training.data.exports.reading import Exported, Reading, check_stated, in_place, size_of
from training.data.exports.shapes import Box, NoArea, Outline, Painted, Shape, pairs
from training.data.listing import PARTS
from training.data.sample import DatasetError, Flags, Size

PREFIX = "datumaro:"
_PROJECT = Path(__file__).parents[3]
PYTHON = _PROJECT / ".venv-import/bin/python"
SCRIPT = Path(__file__).with_name("datumaro_script.py")
_BACKGROUND = "background"
_REASON = 500  # characters of what datumaro says


def read_datumaro(reading: Reading, name: str, python: Path = PYTHON) -> Iterator[Exported]:
    """Yield the images that datumaro reads as its format `name`.

    Raises DatasetError where the environment is missing, and with what datumaro says where it refuses.
    """
    if not python.is_file():
        raise DatasetError(
            f"datumaro is not set up, which reads {PREFIX}{name}; run once, in {_PROJECT}: make import"
        )
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "images.jsonl"
        command = [str(python), "-I", str(SCRIPT), str(reading.root), name, str(lines)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["no reason"])[-1][:_REASON]
            raise DatasetError(f"datumaro cannot read {reading.root} as {name}: {said}")
        with lines.open(encoding="utf-8") as file:
            reading.declare(each for each in json.loads(file.readline())["classes"] if each != _BACKGROUND)
            for line in file:
                with reading.faults.collected(), in_place(f"an image of {reading.root}"):
                    yield _exported(reading, json.loads(line))


def _exported(reading: Reading, found: dict[str, Any]) -> Exported:
    if not found["image"] or not Path(found["image"]).is_file():
        raise DatasetError(f"{reading.root}: the image of {found['id']} is missing; copy it there")
    path = Path(found["image"]).resolve()
    size = size_of(path)
    if found["size"]:
        check_stated((found["size"][0], found["size"][1]), size, str(path))
    shapes = [_shape(each, str(path)) for each in found["shapes"] if each["label"] != _BACKGROUND]
    shapes += [NoArea(kind) for kind, count in found["skipped"].items() for _ in range(count)]
    return Exported(path, size, shapes, PARTS.get(str(found["subset"]).lower()))


def _shape(found: dict[str, Any], where: str) -> Shape:
    if "ring" in found:
        return Outline(found["label"], (pairs(found["ring"]),))
    if "box" in found:
        left, top, right, bottom = found["box"]
        return Box(found["label"], (left, top, right, bottom))
    return Painted(found["label"], partial(_flags, found["runs"], where))


def _flags(runs: dict[str, Any], where: str, size: Size) -> Flags:
    return CocoRuns(1, (runs["size"][0], runs["size"][1]), runs["counts"], where).draw(size) > 0

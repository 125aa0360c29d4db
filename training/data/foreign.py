"""Detects exports of annotation tools that no layout supports, so that the error says what to do."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from training.data.listing import walk

_Found = tuple[str, str | None]  # the tool, and the --format that imports its export
_HEAD = 100_000  # bytes read from an annotation file
_BRUSH = re.compile(r"task-\d+-annotation-\d+-by-.*-tag-.*\.png")  # Label Studio's brush labels as PNG


def foreign_format(root: Path) -> str | None:
    """Name the unsupported export in a folder and the remedy; None if there is no known one."""
    found = next(_formats(root), None)
    if found is None:
        return None
    tool, name = found
    if name is None:
        return (
            f"is an export of {tool}, which has to be converted first: export the same annotations as COCO "
            "JSON (instances) or as one mask for each image"
        )
    return (
        f"is an export of {tool}, which has to be imported first: passline train data import --format {name} "
        f"{shlex.quote(str(root))} OUT"
    )


def _formats(root: Path) -> Iterator[_Found]:
    files = list(walk(root))
    names = {path.name.lower() for path in files}
    folders = {path.parent.name.lower() for path in files}
    if "segmentationclass" in folders:
        yield "Pascal VOC masks (CVAT's Segmentation mask 1.1)", "voc"
    if "_classes.csv" in names and any(path.stem.endswith("_mask") for path in files):
        yield "Roboflow's semantic segmentation masks", "roboflow"
    if any(_BRUSH.fullmatch(path.name) for path in files):
        yield "Label Studio's brush masks", "label-studio-png"
    if "meta.json" in names and "ann" in folders:
        yield "Supervisely", "supervisely"
    if "labels" in folders and any(_is_yolo(path) for path in files):
        yield "YOLO", "yolo"
    yield from (found for path in files if (found := _of_file(path)))


def _is_yolo(path: Path) -> bool:
    """Whether a text file in `labels` holds lines of a class number and coordinates from 0 to 1."""
    if path.parent.name.lower() != "labels" or path.suffix.lower() != ".txt":
        return False
    words = _head(path).split(b"\n", 1)[0].split()
    return len(words) >= 5 and words[0].isdigit()


def _of_file(path: Path) -> _Found | None:
    """The tool that wrote an unsupported XML or JSON file; None if unknown."""
    suffix = path.suffix.lower()
    if suffix == ".xml":
        head = _head(path)
        if b"<annotations>" in head and b"<image " in head:
            return "CVAT for images 1.1 (XML)", "cvat"
        return ("Pascal VOC boxes (XML)", None) if b"<annotation" in head and b"<object>" in head else None
    if suffix != ".json":
        return None
    head = _head(path)
    if b'"shape_attributes"' in head or b'"_via_' in head:
        return "the VGG Image Annotator (VIA)", "via"
    if b'"original_width"' in head or (b'"annotations"' in head and b'"file_upload"' in head):
        return "Label Studio's own JSON", "label-studio"
    return None


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)

"""Reads the meaning of mask values from the configuration, labelmap.txt or classes.txt."""

import re
from pathlib import Path

from app.inspection.repeats import repeated
from training.data.classes import GOOD
from training.data.sample import DatasetError
from training.labels import LabelsConfig

CLASSES, LABELMAP = "classes.txt", "labelmap.txt"
MARKED = "marked"  # in mask_values: the class of the image's folder
BACKGROUND = (GOOD, "background", "_background_", "__background__")


def explained(root: Path, labels: LabelsConfig) -> tuple[dict[int, str] | None, str, bool]:
    """Class names by value or colour 0xRRGGBB, or None; their source; whether they are colours."""
    if labels.mask_values:
        return dict(labels.mask_values), "labels: mask_values of the configuration", False
    if (root / LABELMAP).is_file():
        return _labelmap(root / LABELMAP), LABELMAP, True
    if (root / CLASSES).is_file():
        return _class_list(root / CLASSES), CLASSES, False
    return None, "", False


def _class_list(path: Path) -> dict[int, str]:
    """The class names of classes.txt by number; a background name in the first line has number 0."""
    names = [line.strip() for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines()]
    names = [name for name in names if name]
    if not names:
        raise DatasetError(f"{path} must name each defect class, one a line")
    for name in repeated(names):
        raise DatasetError(f"{path}: '{name}' and '{name}' cannot name two defect classes")
    first = 0 if names[0].lower() in BACKGROUND else 1
    meant = dict(enumerate(names, start=first))
    return {number: name for number, name in meant.items() if number}


def _labelmap(path: Path) -> dict[int, str]:
    """Class names by colour 0xRRGGBB, from CVAT's lines `label:r,g,b:parts:actions`."""
    meant: dict[int, str] = {}
    for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        match = re.match(r"([^:]+):\s*(\d+),\s*(\d+),\s*(\d+)", line)
        if match is None or max(map(int, match.groups()[1:])) > 255:
            raise DatasetError(f"{path}: '{line}' is no line 'dent:250,50,83::'")
        red, green, blue = map(int, match.groups()[1:])
        if (red << 16 | green << 8 | blue) in meant:
            raise DatasetError(f"{path}: '{line}' repeats the colour of another label; give each its own")
        meant[red << 16 | green << 8 | blue] = match[1].strip()
    return {value: GOOD if name.lower() in BACKGROUND else name for value, name in meant.items()}

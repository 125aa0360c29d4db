"""Reader of the VGG Image Annotator (VIA) 2, annotations or project as JSON.

Source: robots.ox.ac.uk/~vgg/software/via; coordinates are pixels, the angle `theta` radians clockwise.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.data.exports.reading import Exported, Reading, in_place, read_json, size_of
from training.data.exports.shapes import NoArea, Outline, Shape, ellipse, rectangle
from training.data.listing import walk
from training.data.sample import DatasetError

_PREFERRED = ("label", "class", "defect", "category", "type", "name")  # attributes that hold the class
_NO_AREA = ("point", "polyline")
_Json = dict[str, Any]


def read_via(reading: Reading) -> Iterator[Exported]:
    """Yield the images that the files name; one without regions is good."""
    without = found = 0
    named = set[Path]()
    for path in walk(reading.root):
        if path.suffix.lower() != ".json":
            continue
        content = read_json(path)
        with in_place(str(path)):
            content = content.get("_via_img_metadata", content)
            entries = [each for each in content.values() if isinstance(each, dict) and "filename" in each]
        for entry in entries:
            found += 1
            with reading.faults.collected(), in_place(f"{path}, image {entry['filename']}"):
                exported = _exported(reading, path, entry)
                without += not entry["regions"]
                named.add(exported.path)
                yield exported
    if not found:
        raise DatasetError(
            f"{reading.root} holds no JSON of VIA that names images; export annotations as JSON"
        )
    reading.note_unnamed(named)
    reading.note(without, "images have no regions: they are taken as good")


def _exported(reading: Reading, path: Path, entry: _Json) -> Exported:
    where = f"{path}, image {entry['filename']}"
    image = reading.images.find(path, entry["filename"])
    regions = entry["regions"].values() if isinstance(entry["regions"], dict) else entry["regions"]
    shapes: list[Shape] = []
    for region in regions:
        kind = region["shape_attributes"]["name"]
        if kind in _NO_AREA:
            shapes.append(NoArea(kind))
        else:
            with reading.faults.collected():
                labels = _labels(region["region_attributes"], where)
                reading.declare(labels)
                shapes += [_shape(kind, label, region["shape_attributes"], where) for label in labels]
                shapes += [] if labels else [NoArea("region without a class")]
    return Exported(image, size_of(image), shapes, reading.split_of(image))


def _labels(attributes: _Json, where: str) -> list[str]:
    """The classes of a region: its only attribute, or the one named like a class."""
    filled = {key: value for key, value in attributes.items() if value not in ("", None, {})}
    named = [key for key in filled if key.lower() in _PREFERRED]
    keys = named if len(named) == 1 else list(filled)
    if len(keys) != 1:
        which = f"several attributes, {', '.join(filled)}" if filled else "no attribute"
        raise DatasetError(f"{where}: a region has {which}; keep one, called label, that holds its class")
    value = filled[keys[0]]
    if isinstance(value, dict):  # checkboxes
        return [str(option) for option, ticked in value.items() if ticked]
    return [str(value).strip()]


def _shape(kind: str, label: str, shape: _Json, where: str) -> Shape:
    if kind == "polygon":
        return Outline(label, (tuple(zip(shape["all_points_x"], shape["all_points_y"], strict=True)),))
    if kind == "rect":
        x, y = shape["x"], shape["y"]
        return Outline(label, (rectangle(x, y, x + shape["width"], y + shape["height"]),))
    if kind == "circle":
        return Outline(label, (ellipse((shape["cx"], shape["cy"]), (shape["r"], shape["r"])),))
    if kind == "ellipse":
        degrees = math.degrees(shape.get("theta") or 0)
        return Outline(label, (ellipse((shape["cx"], shape["cy"]), (shape["rx"], shape["ry"]), degrees),))
    raise DatasetError(f"{where}: a region of the kind {kind} is not known; redraw it as a polygon")

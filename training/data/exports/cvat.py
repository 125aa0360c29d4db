"""Reader of "CVAT for images 1.1".

Source: docs.cvat.ai, "CVAT for image" and "XML annotation format". Coordinates are pixels, rotations
degrees clockwise around the centre; a mask's run lengths go along the rows of its box, outside first.
"""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from training.data.exports.reading import Exported, Reading, check_stated, in_place, size_of
from training.data.exports.shapes import (
    NoArea,
    Outline,
    Painted,
    Shape,
    ellipse,
    pairs,
    placed,
    rectangle,
    turned,
)
from training.data.listing import GOOD_FOLDERS, PARTS, walk
from training.data.sample import DatasetError, Flags, Size

_NO_AREA = ("polyline", "points", "skeleton", "cuboid", "tag")


def read_cvat(reading: Reading) -> Iterator[Exported]:
    """Yield the images that the XML files name; one without shapes is good."""
    files = [path for path in walk(reading.root) if path.suffix.lower() == ".xml"]
    if not files:
        raise DatasetError(f"{reading.root} holds no XML; export the task as CVAT for images 1.1")
    without, named = 0, set[Path]()
    for path in files:
        for image in _images(reading, path):
            with reading.faults.collected():
                exported = _exported(reading, path, image)
                without += not exported.shapes
                named.add(exported.path)
                yield exported
    reading.note_unnamed(named)
    reading.note(without, "images have no shapes: they are taken as good")


def _images(reading: Reading, path: Path) -> Iterator[ElementTree.Element]:
    """The image elements of a file, one at a time."""
    try:
        for _, element in ElementTree.iterparse(path):
            if element.tag == "label" and (name := element.findtext("name")):
                reading.declare([name])
            elif element.tag == "track":
                raise DatasetError(f"{path} annotates a video; export the task as CVAT for images 1.1")
            elif element.tag == "image":
                yield element
                element.clear()
    except ElementTree.ParseError as error:
        raise DatasetError(f"{path} is no XML ({error}); export it anew") from error


def _exported(reading: Reading, path: Path, image: ElementTree.Element) -> Exported:
    name = image.get("name", "")
    where = f"{path}, image {name}"
    found = reading.images.find(path, name, image.get("subset", ""))
    size = size_of(found)
    with in_place(where):
        if image.get("width"):
            check_stated((int(image.attrib["height"]), int(image.attrib["width"])), size, where)
        shapes: list[Shape] = []
        for element in image:
            if element.tag in _NO_AREA:
                if element.tag != "tag" or element.get("label", "").lower() not in GOOD_FOLDERS:
                    shapes.append(NoArea(element.tag))
            else:
                shapes.append(_shape(element, where))
    split = PARTS.get(image.get("subset", "").lower())
    return Exported(found, size, shapes, split or reading.split_of(found))


def _shape(element: ElementTree.Element, where: str) -> Shape:
    values, label = element.attrib, element.attrib["label"]
    degrees = float(values.get("rotation", 0))
    if element.tag == "polygon":
        return Outline(label, (pairs(values["points"].replace(";", ",").split(",")),))  # type: ignore[arg-type]
    if element.tag == "box":
        left, top, right, bottom = (float(values[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        corners = rectangle(left, top, right, bottom)
        return Outline(label, (turned(corners, degrees, ((left + right) / 2, (top + bottom) / 2)),))
    if element.tag == "ellipse":
        x, y, across, down = (float(values[key]) for key in ("cx", "cy", "rx", "ry"))
        return Outline(label, (ellipse((x, y), (across, down), degrees),))
    if element.tag == "mask":
        return _mask(label, values, where)
    raise DatasetError(f"{where}: a shape of the kind {element.tag} is not known; redraw it as a polygon")


def _mask(label: str, values: dict[str, str], where: str) -> Painted:
    left, top, width, height = (int(float(values[key])) for key in ("left", "top", "width", "height"))
    counts = [int(each) for each in values["rle"].split(",")]
    if min(counts) < 0 or sum(counts) != width * height:
        raise DatasetError(f"{where}: the run lengths of a mask do not add up to {width} x {height} px")

    def flags(size: Size) -> Flags:
        patch = np.repeat(np.arange(len(counts)) % 2 > 0, counts).reshape(height, width)
        return placed(patch, left, top, size, where)

    return Painted(label, flags)

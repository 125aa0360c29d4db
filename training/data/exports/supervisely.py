"""Reader of Supervisely's projects of images.

Source: docs.supervisely.com, "Supervisely annotation format": `meta.json`, and in each data set `img/NAME`
with `ann/NAME.json`. A bitmap is a PNG, packed with zlib, in base64.
"""

import base64
import binascii
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from training.data.exports.reading import Exported, Reading, check_stated, in_place, read_json, size_of
from training.data.exports.shapes import NoArea, Outline, Painted, Shape, pairs, placed, rectangle
from training.data.listing import is_picture, walk
from training.data.sample import DatasetError, Flags, Size

_MAX_BITMAP = 1 << 26  # bytes of an unpacked PNG
_NO_AREA = ("point", "line", "polyline", "graph", "cuboid", "cuboid_2d", "any")


def read_supervisely(reading: Reading) -> Iterator[Exported]:
    """Yield the images that have an annotation file, and those in `img` that have none, as good ones."""
    without, used = 0, set()
    for path in walk(reading.root):
        if path.name == "meta.json":
            with in_place(str(path)):
                reading.declare(str(each["title"]) for each in read_json(path)["classes"])
        elif path.suffix.lower() == ".json" and path.parent.name.lower() == "ann":
            with reading.faults.collected(), in_place(str(path)):
                exported = _exported(reading, path)
                used.add(exported.path)
                without += not exported.shapes
                yield exported
    for image in reading.images.paths:
        if image not in used and image.parent.name.lower() == "img" and is_picture(image):
            with reading.faults.collected():
                without += 1
                yield Exported(image, size_of(image), (), reading.split_of(image))
    reading.note(without, "images have no objects: they are taken as good")


def _exported(reading: Reading, path: Path) -> Exported:
    content = read_json(path)
    direct = path.parent.parent / "img" / path.stem
    image = direct if is_picture(direct) else reading.images.find(path, path.stem)
    size = size_of(image)
    check_stated((content["size"]["height"], content["size"]["width"]), size, str(path))
    shapes: list[Shape] = []
    for each in content["objects"]:
        kind = each["geometryType"]
        if kind in _NO_AREA:
            shapes.append(NoArea(kind))
        else:
            shapes.append(_shape(kind, each, str(path)))
    return Exported(image, size, shapes, reading.split_of(image))


def _shape(kind: str, found: dict[str, Any], where: str) -> Shape:
    label = str(found["classTitle"])
    if kind == "bitmap":
        left, top = (int(each) for each in found["bitmap"]["origin"])
        packed = found["bitmap"]["data"]
        return Painted(label, lambda size: _bitmap(packed, left, top, size, where))
    exterior = pairs(value for point in found["points"]["exterior"] for value in point)
    if kind == "polygon":
        holes = (pairs(v for point in ring for v in point) for ring in found["points"].get("interior") or ())
        return Outline(label, (exterior,), tuple(holes))
    if kind == "rectangle":
        (left, right), (top, bottom) = (sorted(values) for values in zip(*exterior, strict=True))
        return Outline(label, (rectangle(left, top, right, bottom),))
    raise DatasetError(f"{where}: an object of the kind {kind} is not known; redraw it as a polygon")


def _bitmap(packed: str, left: int, top: int, size: Size, where: str) -> Flags:
    try:
        unpacked = zlib.decompressobj().decompress(base64.b64decode(packed), _MAX_BITMAP)
        with Image.open(io.BytesIO(unpacked)) as opened:
            image = opened.convert("RGBA") if "transparency" in opened.info else opened
            if image.width > 2 * size[1] or image.height > 2 * size[0]:
                raise DatasetError(f"{where}: a bitmap is larger than its image; export it anew")
            values = np.array(image.getchannel("A") if "A" in image.getbands() else image.convert("L"))
    except (binascii.Error, zlib.error, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{where}: a bitmap cannot be decoded ({error}); export it anew") from error
    return placed(values > 0, left, top, size, where)

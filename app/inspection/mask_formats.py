"""Lossless conversion of a label map to and from `png`, COCO `rle` and `polygons`."""

import binascii
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco
from pydantic import BaseModel, ConfigDict

from app.inspection.measuring.runs import labels_of
from app.inspection.png_encode import png_base64

MaskFormat = Literal["png", "rle", "polygons", "none"]
LabelMap = NDArray[np.uint8]
Point = tuple[int, int]
Check = Callable[[], None]
ROWS_AT_ONCE = 64


class RunLengths(BaseModel):
    """COCO's compressed run lengths of one class; `size` is [height, width]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    defect_class: str
    size: tuple[int, int]
    counts: str


class Polygon(BaseModel):
    """One connected region: points are the (x, y) of boundary pixels, which belong to the region.

    `cv2.fillPoly` of the exterior and all holes in one call reproduces the region exactly.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    defect_class: str
    exterior: list[Point]
    holes: list[list[Point]]


def to_png(label_map: LabelMap, check: Check = lambda: None) -> str:
    """A base64 PNG of one 8-bit channel with the label map's values unchanged.

    `check` is called regularly, here and below; an exception that it raises ends the conversion.
    """
    return png_base64(label_map, check)


def from_png(data: str) -> LabelMap:
    """Decode the label map, uint8 [H, W], from the result of `to_png`; raises ValueError."""
    values = cv2.imdecode(np.frombuffer(binascii.a2b_base64(data), np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 2 or values.dtype != np.uint8:
        raise ValueError("a label map is a PNG of one 8-bit channel")
    return np.asarray(values, dtype=np.uint8)


def to_rle(label_map: LabelMap, classes: Sequence[str], check: Check = lambda: None) -> list[RunLengths]:
    """Run lengths of each class that occurs, in the order of `classes`."""
    return [_run_lengths(classes[value - 1], label_map, value, check) for value in labels_of(label_map)]


def from_rle(data: Sequence[RunLengths], shape: tuple[int, int], classes: Sequence[str]) -> LabelMap:
    """Decode the label map, uint8 [H, W], from the result of `to_rle`; `shape` is (height, width)."""
    label_map = np.zeros(shape, np.uint8)
    for each in data:
        mask = _decode({"size": list(each.size), "counts": each.counts.encode("ascii")})
        label_map[mask.astype(bool)] = classes.index(each.defect_class) + 1
    return label_map


def to_polygons(label_map: LabelMap, classes: Sequence[str], check: Check = lambda: None) -> list[Polygon]:
    """One polygon for each 8-connected region of each class, in the order of `classes`."""
    left, top, width, height = cv2.boundingRect(label_map)
    marked = label_map[top : top + height, left : left + width]
    found: list[Polygon] = []
    for value in labels_of(label_map):
        check()
        found += _polygons(classes[value - 1], (marked == value).view(np.uint8), (left, top))
    return found


def from_polygons(data: Sequence[Polygon], shape: tuple[int, int], classes: Sequence[str]) -> LabelMap:
    """Draw the label map, uint8 [H, W], from the result of `to_polygons`; `shape` is (height, width)."""
    label_map = np.zeros(shape, np.uint8)
    for each in data:
        rings = [np.array(ring, np.int32) for ring in (each.exterior, *each.holes)]
        cv2.fillPoly(label_map, rings, classes.index(each.defect_class) + 1)
    return label_map


def _run_lengths(name: str, label_map: LabelMap, value: int, check: Check) -> RunLengths:
    # column-major, as in COCO's run lengths
    mask: NDArray[np.bool_] = np.empty(label_map.shape, np.bool_, order="F")
    for start in range(0, len(label_map), ROWS_AT_ONCE):
        check()
        rows = slice(start, start + ROWS_AT_ONCE)
        np.equal(label_map[rows], value, out=mask[rows])
    check()
    counts = coco.encode(mask.view(np.uint8))["counts"]
    text = counts if isinstance(counts, str) else counts.decode("ascii")
    return RunLengths(defect_class=name, size=(label_map.shape[0], label_map.shape[1]), counts=text)


def _decode(run_lengths: Any) -> NDArray[np.uint8]:
    with warnings.catch_warnings():  # pycocotools 2.0.11 uses NumPy 1's __array__ signature
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        return coco.decode(run_lengths)


def _polygons(name: str, mask: LabelMap, corner: Point) -> Iterator[Polygon]:
    """The polygons of a mask whose upper left corner is at `corner`, (x, y), in the image."""
    contours, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=corner)
    links = hierarchy.reshape(-1, 4)  # of each contour: next, previous, first hole, exterior
    for index, (_, _, hole, exterior) in enumerate(links):
        if exterior >= 0:
            continue  # a hole: it is listed with its exterior
        holes = []
        while hole >= 0:
            holes.append(_points(contours[hole]))
            hole = links[hole][0]
        yield Polygon(defect_class=name, exterior=_points(contours[index]), holes=holes)


def _points(contour: Any) -> list[Point]:
    return [(x, y) for x, y in contour.reshape(-1, 2).tolist()]

"""Marks of exports as COCO segmentations: outlines, clipped to the image, and painted pixels."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from pycocotools import mask as coco_mask

from training.data.annotations import Points, Polygons
from training.data.sample import DatasetError, Flags, Size

ARC_PX = 0.5  # longest side of the polygon that stands for an ellipse

Entry = dict[str, Any]  # what COCO says of one annotation, less its ids


class Shape(Protocol):
    """One mark in an export."""

    @property
    def label(self) -> str:
        """The class as the tool names it."""

    def entry(self, size: Size) -> Entry | None:
        """Return the COCO entry for an image of that size (height, width); None where nothing is marked."""


@dataclass(frozen=True)
class Outline:
    """The union of rings less the holes; corners are x, y in pixels."""

    label: str
    rings: tuple[Points, ...]
    holes: tuple[Points, ...] = ()

    def entry(self, size: Size) -> Entry | None:
        """Return polygons, or run lengths where there are holes."""
        rings = _inside(self.rings, size)
        if not rings:
            return None
        if self.holes:
            return encoded(_drawn(rings, size) & ~_drawn(_inside(self.holes, size), size))
        return {"segmentation": rings}


@dataclass(frozen=True)
class Box:
    """A box around a defect without an outline: its image shows the class, its pixels count nowhere."""

    label: str
    corners: tuple[float, float, float, float]  # left, top, right, bottom in pixels

    def entry(self, size: Size) -> Entry | None:
        """Return the box without an outline."""
        left, right = (min(max(x, 0.0), size[1]) for x in self.corners[::2])
        top, bottom = (min(max(y, 0.0), size[0]) for y in self.corners[1::2])
        if right <= left or bottom <= top:
            return None
        return {"bbox": [left, top, right - left, bottom - top]}


@dataclass(frozen=True)
class Painted:
    """Pixels, decoded when they are written; `ignored` ones count in no loss and no figure."""

    label: str
    flags: Callable[[Size], Flags]
    ignored: bool = False

    def entry(self, size: Size) -> Entry | None:
        """Return run lengths; raises DatasetError where the pixels do not fit the image."""
        entry = encoded(self.flags(size))
        return entry and (entry | {"ignore": 1} if self.ignored else entry)


@dataclass(frozen=True)
class NoArea:
    """A mark that shows no pixel, such as a line, a point or a tag; `label` is its kind."""

    label: str

    def entry(self, size: Size) -> Entry | None:
        """Return None."""
        return None


def encoded(flags: Flags) -> Entry | None:
    """Return pixels [H, W] as COCO's compressed run lengths; None where there are none."""
    if not flags.any():
        return None
    runs: Any = coco_mask.encode(np.asfortranarray(flags, np.uint8))
    return {"segmentation": {"size": list(flags.shape), "counts": runs["counts"].decode()}}


def placed(patch: Flags, left: int, top: int, size: Size, where: str) -> Flags:
    """Return a patch [h, w] on an empty image [H, W]; the rest is clipped."""
    height, width = patch.shape
    if left >= size[1] or top >= size[0] or left + width <= 0 or top + height <= 0:
        raise DatasetError(f"{where}: its mask at {left}, {top} lies outside the image; export it anew")
    flags = np.zeros(size, np.bool_)
    flags[max(top, 0) : top + height, max(left, 0) : left + width] = patch[
        max(-top, 0) : size[0] - top, max(-left, 0) : size[1] - left
    ]
    return flags


def rectangle(left: float, top: float, right: float, bottom: float) -> Points:
    """The corners of an upright rectangle."""
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def turned(points: Points, degrees: float, pivot: tuple[float, float]) -> Points:
    """Points turned clockwise, as seen, around a pivot."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x0, y0 = pivot
    return tuple(
        (x0 + (x - x0) * cosine - (y - y0) * sine, y0 + (x - x0) * sine + (y - y0) * cosine)
        for x, y in points
    )


def ellipse(centre: tuple[float, float], radii: tuple[float, float], degrees: float = 0.0) -> Points:
    """The polygon that stands for an ellipse turned clockwise; radii along x and y in pixels."""
    count = min(max(int(math.tau * max(radii) / ARC_PX), 32), 4096)
    angles = (math.tau * step / count for step in range(count))
    (x, y), (across, down) = centre, radii
    points = tuple((x + across * math.cos(angle), y + down * math.sin(angle)) for angle in angles)
    return turned(points, degrees, centre)


def pairs(numbers: Iterable[float]) -> Points:
    """x1, y1, x2, y2, ... as points; raises ValueError where one number is left over."""
    values = [float(each) for each in numbers]
    return tuple(zip(values[::2], values[1::2], strict=True))


def _inside(rings: Iterable[Points], size: Size) -> list[list[float]]:
    """Rings cut at the image's edges, x1, y1, x2, y2, ...; those without an area are left out."""
    cut = (_cut(ring, size) for ring in rings)
    return [
        [round(value, 4) for point in ring for value in point]
        for ring in cut
        if len(ring) > 2 and _area(ring) > 0
    ]


def _cut(ring: Points, size: Size) -> Points:
    """Cut a polygon at the four edges, one after the other (Sutherland and Hodgman, 1974)."""
    for axis, edge, keep in ((0, 0.0, 1), (0, float(size[1]), -1), (1, 0.0, 1), (1, float(size[0]), -1)):
        kept: list[tuple[float, float]] = []
        for before, here in zip((*ring[-1:], *ring[:-1]), ring, strict=True):
            was_in, is_in = (keep * (point[axis] - edge) >= 0 for point in (before, here))
            if was_in != is_in:
                share = (edge - before[axis]) / (here[axis] - before[axis])
                crossing = [a + share * (b - a) for a, b in zip(before, here, strict=True)]
                crossing[axis] = edge
                kept.append((crossing[0], crossing[1]))
            if is_in:
                kept.append(here)
        ring = tuple(kept)
    return ring


def _area(ring: Points) -> float:
    following = (*ring[1:], ring[0])
    return abs(sum(x * v - u * y for (x, y), (u, v) in zip(ring, following, strict=True))) / 2


def _drawn(rings: list[list[float]], size: Size) -> Flags:
    if not rings:
        return np.zeros(size, np.bool_)
    return Polygons(1, tuple(map(tuple, rings)), "an outline").draw(size) > 0

"""Draws shapes like the annotation tool labelme.

Source: `labelme.utils.shape_to_mask` and `shapes_to_label`, including their default line width and point
size.
"""

import base64
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from app.inspection.decoding.decode import decode
from app.inspection.errors import ImageError
from training.data.annotations import Points, bits_where, refuse_outside
from training.data.sample import Bits, DatasetError, Size
from training.limits import limits

LINE_WIDTH_PX = 10
POINT_RADIUS_PX = 5


@dataclass(frozen=True)
class Outline:
    """One class as a shape of a kind in KINDS, given by `points`."""

    number: int
    kind: str
    points: Points
    where: str

    def draw(self, size: Size) -> Bits:
        """Return the class bits [H, W]; raises DatasetError for a point outside the image."""
        refuse_outside(self.points, size, self.where)
        canvas = Image.new("L", (size[1], size[0]))
        KINDS[self.kind].draw(ImageDraw.Draw(canvas), self.points)
        return bits_where(np.asarray(canvas) > 0, self.number)


@dataclass(frozen=True)
class Patch:
    """One class as a small mask, a base64-encoded image, that fills the box between two points."""

    number: int
    points: Points
    mask: str
    where: str

    def draw(self, size: Size) -> Bits:
        """Return the class bits [H, W]; raises DatasetError if the patch is unreadable or misfits."""
        try:
            values = decode(base64.b64decode(self.mask, validate=True), limits())
        except (ImageError, ValueError) as error:  # ValueError: not base64
            raise DatasetError(f"{self.where}: its mask cannot be read ({error}); save it anew") from error
        (left, top), (right, bottom) = ((int(x), int(y)) for x, y in self.points)
        inside = 0 <= left <= right < size[1] and 0 <= top <= bottom < size[0]
        if not inside or values.shape != (bottom - top + 1, right - left + 1):
            raise DatasetError(
                f"{self.where}: its mask of {values.shape[1]} x {values.shape[0]} px does not fill the box "
                f"{left}, {top} to {right}, {bottom} in an image of {size[1]} x {size[0]} px"
            )
        if len(np.unique(values[values > 0])) > 1:
            raise DatasetError(f"{self.where}: its mask holds more than 0 and one other value; draw it again")
        bits = np.zeros(size, np.uint16)
        bits[top : bottom + 1, left : right + 1] = bits_where(values > 0, self.number)
        return bits


def _polygon(canvas: ImageDraw.ImageDraw, points: Points) -> None:
    canvas.polygon(points, outline=1, fill=1)


def _rectangle(canvas: ImageDraw.ImageDraw, points: Points) -> None:
    """Draw a rectangle by two opposite corners, or by four, as X-AnyLabeling writes rotated ones."""
    if len(points) > 2:
        _polygon(canvas, points)
        return
    (left, right), (top, bottom) = (sorted(values) for values in zip(*points, strict=True))
    canvas.rectangle((left, top, right, bottom), outline=1, fill=1)


def _disc(canvas: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float) -> None:
    x, y = centre
    canvas.ellipse((x - radius, y - radius, x + radius, y + radius), outline=1, fill=1)


def _circle(canvas: ImageDraw.ImageDraw, points: Points) -> None:
    _disc(canvas, points[0], math.dist(*points))


def _line(canvas: ImageDraw.ImageDraw, points: Points) -> None:
    canvas.line(points, fill=1, width=LINE_WIDTH_PX)


def _point(canvas: ImageDraw.ImageDraw, points: Points) -> None:
    _disc(canvas, points[0], POINT_RADIUS_PX)


class _Kind(NamedTuple):
    """A kind of shape: smallest and largest number of points, and its drawing function."""

    least: int
    most: float
    draw: Callable[[ImageDraw.ImageDraw, Points], None]


KINDS = {
    "polygon": _Kind(3, math.inf, _polygon),
    "rectangle": _Kind(2, 4, _rectangle),
    "oriented_rectangle": _Kind(4, 4, _polygon),
    "rotation": _Kind(4, 4, _polygon),
    "circle": _Kind(2, 2, _circle),
    "line": _Kind(2, 2, _line),
    "linestrip": _Kind(2, math.inf, _line),
    "point": _Kind(1, 1, _point),
}

"""Shapes of known size, drawn without a drawing library: each pixel's share that a shape covers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Inside = Callable[[Floats, Floats], NDArray[np.bool_]]

FINER = 5  # samples each way in a pixel; an odd number, so that no pixel is exactly half covered
ELBOW = 0.4245  # of the width: the axis of an L's elbow, a parabola from each arm (focus: the inner corner)

ZIG, SHARP = 24, math.radians(60)  # the sides of a zigzag in px, and the angle between two of them


@dataclass(frozen=True)
class Shape:
    """What is inside, as a function of x and y about the middle, with the true sizes in px."""

    inside: Inside
    length: float
    width: float
    area: float

    def coverage(self, angle: float, shift: tuple[float, float]) -> Floats:
        """The share of each pixel that the shape covers, turned by `angle` and moved by `shift` px."""
        side = math.ceil(self.length + self.width) + 6
        number = np.arange(side * FINER)
        at = (number + 0.5) / FINER - side / 2
        # every sample of a pixel in a row and a column of its own: an upright edge is met to 1 / FINER^2
        slant = (number % FINER - FINER // 2) / FINER**2
        x, y = at + slant[:, None] - shift[0], at[:, None] + slant - shift[1]
        cos, sin = math.cos(angle), math.sin(angle)
        inside = self.inside(x * cos + y * sin, y * cos - x * sin)
        return np.asarray(inside.reshape(side, FINER, side, FINER).mean(axis=(1, 3)))


def bar(length: float, width: float) -> Shape:
    return Shape(lambda x, y: (abs(x) <= length / 2) & (abs(y) <= width / 2), length, width, length * width)


def rounded_bar(length: float, width: float) -> Shape:
    straight = length - width
    return Shape(
        lambda x, y: np.hypot(np.maximum(abs(x) - straight / 2, 0), y) <= width / 2,
        length,
        width,
        straight * width + math.pi * width**2 / 4,
    )


def ellipse(length: float, width: float) -> Shape:
    return Shape(
        lambda x, y: np.hypot(2 * x / length, 2 * y / width) <= 1, length, width, math.pi * length * width / 4
    )


def disc(length: float, width: float) -> Shape:
    assert length == width
    return ellipse(length, width)


def ring(length: float, width: float) -> Shape:
    """A closed loop; its length is that of the circle in its middle."""
    radius = length / math.tau
    return Shape(lambda x, y: abs(np.hypot(x, y) - radius) <= width / 2, length, width, length * width)


def arc(length: float, width: float) -> Shape:
    """Six tenths of a ring, with square ends."""
    turn = 1.2 * math.pi
    radius = length / turn
    return Shape(
        lambda x, y: (abs(np.hypot(x, y) - radius) <= width / 2) & (abs(np.arctan2(y, x)) <= turn / 2),
        length,
        width,
        length * width,
    )


def s_curve(length: float, width: float) -> Shape:
    """Two half rings, one turning each way, with round ends."""
    bent = length - width
    radius = bent / math.tau

    def inside(x: Floats, y: Floats) -> NDArray[np.bool_]:
        side = np.where(y >= 0, radius, -radius)
        ends = np.hypot(abs(x) - 2 * radius, y) <= width / 2
        return (abs(np.hypot(x - side, y) - radius) <= width / 2) | ends

    return Shape(inside, length, width, bent * width + math.pi * width**2 / 4)


def l_shape(length: float, width: float) -> Shape:
    """Two arms at a right angle; the axis cuts the corner, where the largest circle fits."""
    arm = length / 2 + (1 - ELBOW) * width

    def inside(x: Floats, y: Floats) -> NDArray[np.bool_]:
        x, y = x + arm / 2, y + arm / 2
        return (np.minimum(x, y) >= 0) & (np.maximum(x, y) <= arm) & (np.minimum(x, y) <= width)

    return Shape(inside, length, 2 * width * (2 - 2**0.5), 2 * arm * width - width**2)


def zigzag(length: float, width: float) -> Shape:
    """Sides of ZIG px along `length`, turning sharply by turns, with round corners and ends.

    In a corner the axis is a parabola for each side (focus: the inner corner), which cuts it, as an L's.
    """
    sides, half = round(length / ZIG), width / 2
    numbers = np.arange(sides + 1)
    xs = (numbers - sides / 2) * ZIG * math.sin(SHARP / 2)
    ys = (numbers % 2 - 0.5) * ZIG * math.cos(SHARP / 2)

    def inside(x: Floats, y: Floats) -> NDArray[np.bool_]:
        near = np.full(np.broadcast(x, y).shape, np.inf)
        for (at_x, to_x), (at_y, to_y) in zip(pairwise(xs), pairwise(ys), strict=True):
            along, up = (to_x - at_x) / ZIG, (to_y - at_y) / ZIG
            place = np.clip((x - at_x) * along + (y - at_y) * up, 0, ZIG)
            near = np.minimum(near, np.hypot(x - at_x - place * along, y - at_y - place * up))
        return near <= half

    sin, cos = math.sin(SHARP / 2), math.cos(SHARP / 2)
    largest = half * (1 - sin) / (sin * (1 + sin))  # from the corner's middle to that of the largest circle
    begins = half * cos / sin  # from there on the inner corner is nearer than the inner side
    ends = begins - largest * cos
    bent = ends / 2 * math.hypot(1, ends / width) + half * math.asinh(ends / width)
    # two sides share a kite, less the slivers that the round corner leaves of it
    shared = half**2 * cos / sin - half**2 * (math.pi - SHARP) / 2
    return Shape(
        inside,
        sides * ZIG + width - (sides - 1) * 2 * (begins - bent),
        2 * (half + largest * sin),
        sides * ZIG * width + math.pi * half**2 - (sides - 1) * shared,
    )

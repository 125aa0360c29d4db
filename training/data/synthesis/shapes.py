"""Shapes of each defect class: bool masks [H, W], at least 3 px wide, up to a third of the image."""

import math
from collections.abc import Callable

import cv2
import numpy as np

from training.data.sample import Size
from training.data.synthesis.noise import (
    Field,
    Flags,
    Random,
    coordinates,
    fractal_noise,
    log_uniform,
    smooth_noise,
    streaks,
)

MOST_SHARE = 1 / 3  # largest share of the image
LEAST_WIDTH_PX = 3
# Smallest area in px and largest as a share of the image. Areas are about log-uniform, with a few more
# large ones.
AREAS: dict[str, tuple[int, float]] = {
    "pit": (12, 0.03),
    "inclusion": (24, 0.06),
    "stain": (80, MOST_SHARE),
    "dent": (120, 0.12),
    "fray": (200, MOST_SHARE),
    "uneven": (400, MOST_SHARE),
}
STEP_PX = 4  # distance of the points of a crack's path
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (LEAST_WIDTH_PX, LEAST_WIDTH_PX))


def defect_mask(rng: Random, shape: Size, defect_class: str, part: Flags | None = None) -> Flags:
    """The mask [H, W] of one defect within `part`, nowhere thinner than LEAST_WIDTH_PX; it may be empty."""
    drawn = _SHAPES[defect_class](rng, shape)
    mask = (drawn if part is None else drawn & part).astype(np.uint8)
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, _CROSS) > 0)


def _area(rng: Random, shape: Size, defect_class: str) -> float:
    least, most = AREAS[defect_class]
    most_px = max(least + 1, most * shape[0] * shape[1])
    return math.exp(math.log(least) + math.log(most_px / least) * rng.random() ** 0.6)


def _cut(field: Field, area: float) -> Flags:
    """The `area` pixels with the lowest values of the field."""
    last = min(max(int(area), 1), field.size) - 1
    return np.asarray(field <= np.partition(field, last, axis=None)[last])


def _anywhere(rng: Random, shape: Size) -> tuple[float, float]:
    """A random point (x, y), not at the very edge of the image."""
    return rng.uniform(0.03, 0.97) * shape[1], rng.uniform(0.03, 0.97) * shape[0]


def _oval(shape: Size, centre: tuple[float, float], angle: float, stretch: float) -> Field:
    """Elliptical distance in px from `centre`: `stretch` times as long along `angle`, equal area."""
    along, across = coordinates(shape, angle, centre)
    root = np.float32(math.sqrt(stretch))
    return np.asarray(np.hypot(along / root, across * root), np.float32)


def _near(shape: Size, paths: list[Field], half_width: Field | float) -> Flags:
    """The pixels within `half_width` px of one of the paths of points (x, y)."""
    canvas = np.full(shape, 255, np.uint8)
    cv2.polylines(canvas, [np.rint(path).astype(np.int32) for path in paths], False, 0, 1)
    distance = np.asarray(cv2.distanceTransform(canvas, cv2.DIST_L2, 3), np.float32)
    return np.asarray(distance <= np.maximum(half_width, 1))


def _scratch(rng: Random, shape: Size) -> Flags:
    """One to four nearly straight lines side by side, sometimes broken."""
    length = log_uniform(rng, 0.12, 1.6) * max(shape)
    heading, centre = rng.uniform(0, math.pi), _anywhere(rng, shape)
    lines = 1 if rng.random() < 0.65 else int(rng.integers(2, 5))
    paths, along = [], np.linspace(-0.5, 0.5, 24, dtype=np.float32) * np.float32(length)
    for _ in range(lines):
        angle = heading + rng.normal(0, 0.04)
        sideways, shift = rng.normal(0, 9) * (lines > 1), rng.normal(0, 0.15) * length * (lines > 1)
        bow = np.float32(rng.normal(0, 0.12)) * (np.square(2 * along / length) - 1) * np.float32(length / 4)
        u, v = along + np.float32(shift), bow + np.float32(sideways)
        x = np.float32(centre[0]) + u * math.cos(angle) - v * math.sin(angle)
        y = np.float32(centre[1]) + u * math.sin(angle) + v * math.cos(angle)
        path = np.stack([x, y], axis=1).astype(np.float32)
        skips = rng.random() < 0.2
        paths += [path[:9], path[11:16], path[17:]] if skips else [path]
    half = log_uniform(rng, 1, 2.6 if rng.random() < 0.8 else 5)
    return _near(shape, paths, np.maximum(half + 0.3 * smooth_noise(rng, shape, 20, 20), 1))


def _walk(rng: Random, start: Field, heading: float, steps: int, straightness: float) -> Field:
    """A random walk [steps, 2] with kinks that roughly keeps its first direction."""
    turns = rng.normal(0, 0.35, steps) + (rng.random(steps) < 0.12) * rng.normal(0, 0.8, steps)
    wander = np.empty(steps)
    angle = 0.0
    for step, turn in enumerate(turns):
        angle = straightness * angle + turn
        wander[step] = angle
    moves = STEP_PX * np.stack([np.cos(heading + wander), np.sin(heading + wander)], axis=1)
    return np.asarray(start + np.cumsum(moves, axis=0), np.float32)


def _crack(rng: Random, shape: Size) -> Flags:
    """A wandering line of varying width, with or without branches."""
    steps = int(log_uniform(rng, 0.2, 1.6) * max(shape) / STEP_PX) + 4
    start, heading = np.array(_anywhere(rng, shape), np.float32), rng.uniform(0, 2 * math.pi)
    straightness = rng.uniform(0.5, 0.93)
    stem = _walk(rng, start, heading, steps, straightness)
    paths = [stem]
    for _ in range(int(rng.integers(1, 5)) if rng.random() < 0.4 else 0):
        fork = stem[rng.integers(len(stem))]
        aside = heading + rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 1.4)
        paths.append(_walk(rng, fork, aside, max(4, int(steps * rng.uniform(0.15, 0.6))), straightness))
    half = log_uniform(rng, 1, 2.5 if rng.random() < 0.6 else 7)
    return _near(shape, paths, half * (1 + 0.35 * smooth_noise(rng, shape, 9, 9)))


def _pit(rng: Random, shape: Size) -> Flags:
    """A rounded hole with a ragged rim, or a cluster of them."""
    area, centre = _area(rng, shape, "pit"), np.array(_anywhere(rng, shape))
    radius = math.sqrt(area / math.pi)
    hole = _oval(shape, (centre[0], centre[1]), rng.uniform(0, math.pi), rng.uniform(1, 2))
    others = int(rng.integers(1, 10)) if rng.random() < 0.35 else 0
    for _ in range(others):
        size = max(rng.uniform(0.4, 1), min(1, 2 / radius))
        x, y = centre + rng.normal(0, 3 * radius + 5, 2)
        other = _oval(shape, (x, y), rng.uniform(0, math.pi), rng.uniform(1, 1.8))
        hole = np.minimum(hole, other / np.float32(size))
    ragged = min(0.25, 0.05 * radius) * radius
    return np.asarray(hole + np.float32(ragged) * smooth_noise(rng, shape, 4, 4) <= radius)


def _inclusion(rng: Random, shape: Size) -> Flags:
    """Foreign material: one piece or several in a row, elongated in one direction."""
    pieces = 1 if rng.random() < 0.6 else int(rng.integers(2, 6))
    radius = math.sqrt(_area(rng, shape, "inclusion") / pieces / math.pi)
    radius = max(radius, 2.3)
    angle, stretch = rng.uniform(0, math.pi), log_uniform(rng, 1, 7)
    stretch = min(stretch, (radius / 1.6) ** 2)
    x, y = _anywhere(rng, shape)
    field = np.full(shape, np.inf, np.float32)
    for _ in range(pieces):
        field = np.minimum(field, _oval(shape, (x, y), angle + rng.normal(0, 0.1), stretch))
        gap = (1.2 + rng.exponential(1.2)) * radius * math.sqrt(stretch)
        x, y = (
            x + gap * math.cos(angle) + rng.normal(0, radius),
            y + gap * math.sin(angle) + rng.normal(0, radius),
        )
    ragged = 0.22 * radius * fractal_noise(rng, shape, max(4, radius), 3)
    return np.asarray(field + ragged <= radius)


def _stain(rng: Random, shape: Size) -> Flags:
    """A spill with a winding outline and possible islands."""
    area = _area(rng, shape, "stain")
    radius = math.sqrt(area / math.pi)
    spill = _oval(shape, _anywhere(rng, shape), rng.uniform(0, math.pi), log_uniform(rng, 1, 3.5))
    winding = rng.uniform(0.08, 0.4) * radius * fractal_noise(rng, shape, max(6, 0.9 * radius), 3)
    return _cut(np.asarray(spill + winding, np.float32), area)


def _dent(rng: Random, shape: Size) -> Flags:
    """A smooth hollow."""
    area = _area(rng, shape, "dent")
    hollow = _oval(shape, _anywhere(rng, shape), rng.uniform(0, math.pi), log_uniform(rng, 1, 3))
    radius = math.sqrt(area / math.pi)
    bent = 0.08 * radius * smooth_noise(rng, shape, max(8, radius), max(8, radius))
    return _cut(np.asarray(hollow + bent, np.float32), area)


def _fray(rng: Random, shape: Size) -> Flags:
    """A patch with a torn outline, usually starting at a side of the image."""
    area = _area(rng, shape, "fray")
    radius, angle = math.sqrt(area / math.pi), rng.uniform(0, math.pi)
    x, y = _anywhere(rng, shape)
    if rng.random() < 0.6:
        x, y = (rng.choice([0.0, shape[1]]), y) if rng.random() < 0.5 else (x, rng.choice([0.0, shape[0]]))
    patch = _oval(shape, (x, y), angle, log_uniform(rng, 1, 4))
    torn = 0.18 * radius * streaks(rng, shape, 30, 5, angle)
    torn += 0.12 * radius * smooth_noise(rng, shape, max(8, radius), max(8, radius))
    return _cut(np.asarray(patch + torn, np.float32), area)


def _uneven(rng: Random, shape: Size) -> Flags:
    """A band across the image or a rounded rectangle."""
    area = _area(rng, shape, "uneven")
    angle = rng.choice([0.0, math.pi / 2]) + rng.normal(0, 0.15)
    along, across = coordinates(shape, angle, _anywhere(rng, shape))
    longer = np.float32(0.06 if rng.random() < 0.45 else math.exp(rng.uniform(-1, 0)))
    along, across = np.abs(along) * longer, np.abs(across)
    box = np.maximum(along, across) + np.float32(0.12) * np.hypot(along, across)
    wavy = 0.06 * math.sqrt(area) * smooth_noise(rng, shape, 40, 40)
    return _cut(np.asarray(box + wavy, np.float32), area)


_SHAPES: dict[str, Callable[[Random, Size], Flags]] = {
    "scratch": _scratch, "crack": _crack, "pit": _pit, "inclusion": _inclusion,
    "stain": _stain, "dent": _dent, "fray": _fray, "uneven": _uneven,
}  # fmt: skip

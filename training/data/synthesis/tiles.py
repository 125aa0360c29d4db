"""Procedural images of ground magnetic tiles, good and defective, with exact masks.

They contain no third-party images, so they may be published with a bundle, and tests and training runs
need no download. An image is a *reflectance* map (illumination, grinding lines, grain, stains, bevels)
times an exposure. A defect changes the reflectance inside its mask and uses its own random stream, so
one seed gives the same tile with and without the defect.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

CLASSES: tuple[str, ...] = ("blowhole", "break", "crack", "fray", "uneven")

# Area in pixels (smallest, largest) and skew: areas are log-uniform; a skew below 1 favours large ones.
AREA_PX: dict[str, tuple[int, int, float]] = {
    "blowhole": (26, 430, 1.0),
    "break": (70, 12_000, 1.0),
    "crack": (100, 1_500, 1.0),
    "fray": (500, 65_000, 0.5),
    "uneven": (5_000, 70_000, 0.7),
}
MAX_DEFECT_SHARE = 0.45  # of the tile's area, so that small images keep some good surface
MIN_SIDE_PX = 128
EDGE_PX = 2  # a defect's soft edge reaches at most this far beyond its mask

Grey = NDArray[np.uint8]
Field = NDArray[np.float32]
Flags = NDArray[np.bool_]
Size = tuple[int, int]
Random = np.random.Generator


@dataclass(frozen=True)
class _Surface:
    reflectance: Field  # [H, W], about 1 on the tile
    on_tile: Flags  # [H, W], False on the background beyond the tile's ends
    exposure: float  # grey levels per unit of reflectance

    def expose(self, reflectance: Field) -> Grey:
        return np.asarray(np.clip(reflectance * self.exposure, 0, 255), np.uint8)


def generate_tile(seed: int, defect_class: str | None, size: Size | None = None) -> tuple[Grey, Grey]:
    """Return one image and its label map.

    Both are uint8 [H, W]; the label map is 0 on good surface and k on the k-th class of CLASSES
    (1-based), all 0 if `defect_class` is None. `size` is (height, width) in pixels; None draws it at
    random. Raises ValueError for an unknown class or a side below MIN_SIDE_PX.
    """
    if defect_class is not None and defect_class not in CLASSES:
        raise ValueError(f"unknown defect class {defect_class!r}; known classes: {', '.join(CLASSES)}")
    surface_stream, defect_stream = (np.random.default_rng([seed, stream]) for stream in (0, 1))
    height, width = size or (int(surface_stream.integers(220, 401)), int(surface_stream.integers(128, 621)))
    if min(height, width) < MIN_SIDE_PX:
        raise ValueError(f"size {height} x {width} is too small; each side must be at least {MIN_SIDE_PX} px")
    surface = _surface(surface_stream, height, width)
    if defect_class is None:
        return surface.expose(surface.reflectance), np.zeros((height, width), np.uint8)
    mask, reflectance = _with_defect(defect_stream, surface, defect_class)
    return surface.expose(reflectance), mask.astype(np.uint8) * np.uint8(CLASSES.index(defect_class) + 1)


def generated_tiles(count: int, seed: int, defective_share: float = 0.5) -> Iterator[tuple[Grey, Grey]]:
    """Yield `count` images with label maps, in random order.

    round(count * defective_share) of them are defective; all classes occur equally often.
    """
    rng = np.random.default_rng(seed)
    defective = round(count * defective_share)
    for position in rng.permutation(count):
        defect_class = CLASSES[position % len(CLASSES)] if position < defective else None
        yield generate_tile(int(rng.integers(2**62)), defect_class)


def _noise(rng: Random, shape: Size, rows: float, columns: float) -> Field:
    """Smooth noise, about unit variance, one independent value every `rows` x `columns` pixels."""
    grid = (max(2, round(shape[0] / rows)), max(2, round(shape[1] / columns)))
    values = rng.standard_normal(grid, dtype=np.float32)
    return np.asarray(cv2.resize(values, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def _grinding_lines(rng: Random, shape: Size, strength: float) -> Field:
    """Fine vertical lines that fade in and out, a few of them shiny."""
    lines = _noise(rng, shape, rng.uniform(40, 160), 1.0) + 0.6 * _noise(rng, shape, 1_000, 3.0)
    shining = np.maximum(lines - rng.uniform(1.8, 2.6), 0) * rng.uniform(1.0, 5.0)
    tilt = rng.normal(0, 0.01)
    shear = np.array([[1, tilt, -tilt * shape[0] / 2], [0, 1, 0]], np.float32)
    layer = strength * (lines + shining)
    return np.asarray(cv2.warpAffine(layer, shear, shape[::-1], borderMode=cv2.BORDER_REFLECT), np.float32)


def _stains(rng: Random, shape: Size) -> Field:
    """Factor of tolerated marks: faint veins, soft dark clouds and weak specks."""
    scale = rng.uniform(20, 60)
    winding = _noise(rng, shape, scale, scale) + 0.3 * _noise(rng, shape, 7, 7)
    veins = np.exp(-np.square(winding / rng.uniform(0.06, 0.15)))
    veins *= np.clip(_noise(rng, shape, 45, 45) - rng.uniform(0.3, 1.2), 0, 1)
    clouds = _noise(rng, shape, 60, 60) + 0.3 * _noise(rng, shape, 15, 15) - rng.uniform(0.5, 2.0)
    factor = 1 - rng.uniform(0.05, 0.35) * veins - rng.uniform(0.0, 0.25) * np.clip(clouds, 0, 1)
    for _ in range(rng.integers(0, 7)):
        centre = (int(rng.integers(shape[1])), int(rng.integers(shape[0])))
        cv2.circle(factor, centre, int(rng.integers(1, 3)), rng.uniform(0.75, 0.95), -1, cv2.LINE_AA)
    return np.asarray(factor, np.float32)


def _bevels(rng: Random, width: int) -> Field:
    """Factor per column [1, W]: the tile's sides, where the surface bends away from the light."""
    profile = np.ones(width, np.float32)
    for side in (profile, profile[::-1]):
        if rng.random() < 0.7:
            bevel = int(rng.integers(4, min(28, width // 9)))
            side[:bevel] *= rng.uniform(0.5, 1.6) + rng.normal(0, 0.25) * np.linspace(0, 1, bevel)
            side[bevel : bevel + 3] *= rng.uniform(0.55, 0.95)
        side[: int(rng.integers(0, 6))] *= rng.uniform(0.2, 0.6)
    return np.asarray(cv2.GaussianBlur(profile[None, :], (5, 1), 0), np.float32)


def _beyond_ends(rng: Random, shape: Size) -> Field:
    """Signed distance [H, W] in px past the tile's arc-shaped ends (positive on the background)."""
    rows = np.arange(shape[0], dtype=np.float32)[:, None]
    across, ends = np.linspace(-1, 1, shape[1], dtype=np.float32), []
    for distance in (rows, shape[0] - 1 - rows):
        bulge = rng.normal(0, 4) * (across - rng.uniform(-0.4, 0.4)) ** 2 + rng.normal(0, 2) * across
        ends.append(np.float32(rng.uniform(-4, 8)) + bulge - bulge.mean() - distance)
    return np.asarray(np.maximum(*ends), np.float32)


def _surface(rng: Random, height: int, width: int) -> _Surface:
    shape = (height, width)
    light = rng.uniform(0.05, 0.20) * _noise(rng, shape, 130, 110)
    light += rng.uniform(0.04, 0.20) * _noise(rng, shape, 1_000, 70)
    edge = np.linspace(-1, 1, width, dtype=np.float32) + np.float32(rng.normal(0, 0.2))
    falloff = 1.05 - rng.uniform(0, 0.45) * edge**2
    grain = rng.standard_normal(shape, dtype=np.float32)
    grain += 0.6 * np.maximum(grain - 1.2, 0)  # ground metal glints
    grain = cv2.GaussianBlur(grain, (3, 3), 0.5) * np.maximum(0.9 + 0.3 * _noise(rng, shape, 60, 8), 0.3)
    reflectance = (1 + light) * falloff + _grinding_lines(rng, shape, rng.uniform(0.015, 0.06))
    reflectance *= 1 + rng.uniform(0.04, 0.11) * grain
    reflectance *= _stains(rng, shape) * _bevels(rng, width)
    beyond = _beyond_ends(rng, shape)
    reflectance *= 1 - np.clip(beyond + 0.5, 0, 1) * rng.uniform(0.6, 0.9)
    exposure = math.exp(rng.uniform(math.log(58), math.log(195)))
    return _Surface(np.maximum(reflectance, 0.03).astype(np.float32), beyond < 0, exposure)


# A defect's shape is a field that is lowest inside: the n pixels with the lowest values form its mask.


def _oval(centre: tuple[float, float], shape: Size, angle: float, stretch: float) -> Field:
    """Elliptical distance in px from `centre` (x, y), elongated `stretch` times along `angle`."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    x, y = columns - centre[0], rows - centre[1]
    cos, sin, root = math.cos(angle), math.sin(angle), math.sqrt(stretch)
    return np.asarray(np.hypot((x * cos + y * sin) / root, (y * cos - x * sin) * root), np.float32)


def _spot(rng: Random, shape: Size, radius: float) -> Field:
    """A rounded, slightly ragged pit at a random place."""
    centre = (rng.uniform(0.04, 0.96) * shape[1], rng.uniform(0.04, 0.96) * shape[0])
    pit = _oval(centre, shape, rng.uniform(0, math.pi), rng.uniform(1, 2))
    return pit + 0.2 * radius * _noise(rng, shape, 4, 4)


def _chip(rng: Random, shape: Size, radius: float) -> Field:
    """A shell-shaped chip at a side, an end or a corner."""
    x, y = rng.choice([0.0, 1.0]), rng.random()
    if rng.random() < 0.3:
        y = round(y)
    if rng.random() < 0.6:
        x, y = y, x
    shell = _oval((x * shape[1], y * shape[0]), shape, 0.0, math.exp(rng.uniform(-1.2, 1.2)))
    ragged = 0.12 * _noise(rng, shape, 12, 12) + 0.04 * _noise(rng, shape, 4, 4)
    return np.asarray(shell + radius * ragged, np.float32)


def _tongue(rng: Random, shape: Size, radius: float) -> Field:
    """A large smooth patch, inside the tile or starting at one of its ends."""
    centre = (rng.uniform(0.2, 0.8) * shape[1], rng.choice([0.0, 1.0, rng.uniform(0.3, 0.7)]) * shape[0])
    patch = _oval(centre, shape, math.pi / 2 + rng.normal(0, 0.15), math.exp(rng.uniform(-0.4, 1.2)))
    ragged = 0.10 * _noise(rng, shape, 50, 50) + 0.015 * _noise(rng, shape, 7, 7)
    return np.asarray(patch + radius * ragged, np.float32)


def _meander(rng: Random, shape: Size, radius: float) -> Field:
    """Distance to a wandering line of varying width, often starting at an end of the tile."""
    length = math.pi * radius**2 / rng.uniform(2.0, 4.5)
    steps = max(8, int(min(length, 0.8 * shape[0]) / 4))
    from_end = rng.random() < 0.7
    start = shape[1] * rng.uniform(0.08, 0.92), 0.0 if from_end else shape[0] * rng.uniform(0.2, 0.6)
    heading = math.pi / 2 + rng.normal(0, 0.25 if from_end else 0.9) + np.cumsum(rng.normal(0, 0.16, steps))
    points = np.array(start) + 4 * np.cumsum(np.stack([np.cos(heading), np.sin(heading)], axis=1), axis=0)
    canvas = np.full(shape, 255, np.uint8)
    cv2.polylines(canvas, [np.rint(points).astype(np.int32)], False, 0, 1)
    distance = cv2.distanceTransform(canvas, cv2.DIST_L2, 3) + 0.35 * _noise(rng, shape, 5, 5)
    return np.asarray(distance[::-1] if rng.random() < 0.4 else distance, np.float32)


def _band(rng: Random, shape: Size, radius: float) -> Field:
    """A band across the tile, or a rounded rectangle."""
    wide = 0.1 if rng.random() < 0.5 else math.exp(rng.uniform(-0.5, 0.5))
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    x = np.abs(columns - rng.uniform(0.2, 0.8) * shape[1]) * wide
    y = np.abs(rows - rng.choice([0.0, 1.0, rng.random()]) * shape[0])
    box = np.maximum(x, y) + 0.1 * np.hypot(x, y)
    return np.asarray(box + 0.05 * radius * _noise(rng, shape, 30, 60), np.float32)


_SHAPES: dict[str, Callable[[Random, Size, float], Field]] = {
    "blowhole": _spot, "break": _chip, "crack": _meander, "fray": _tongue, "uneven": _band,
}  # fmt: skip


def _look(rng: Random, before: Field, defect_class: str) -> Field:
    """Reflectance [H, W] as if the defect covered the whole image."""
    shape = (before.shape[0], before.shape[1])
    if defect_class == "blowhole":
        return before * np.float32(rng.uniform(0.25, 0.72))
    if defect_class == "crack":
        dark = np.maximum(rng.uniform(0.4, 0.7) + 0.06 * _noise(rng, shape, 12, 12), 0.2)
        return np.asarray(before * dark, np.float32)
    smooth = np.asarray(cv2.blur(before, (31, 31)), np.float32)
    grain = rng.standard_normal(shape, dtype=np.float32)
    if defect_class == "break":
        rough = _noise(rng, shape, 12, 16) + _noise(rng, shape, 4, 5) + 0.5 * grain
        return smooth * np.maximum(rng.uniform(0.3, 0.85) + rng.uniform(0.03, 0.10) * rough, 0.05)
    if defect_class == "fray":
        dull = rng.uniform(0.45, 0.95) + rng.uniform(0.01, 0.03) * _noise(rng, shape, 25, 25) + 0.03 * grain
        return smooth * np.maximum(dull, 0.05)
    reground = _grinding_lines(rng, shape, rng.uniform(0.04, 0.10)) + rng.uniform(-0.15, 0.25)
    return np.asarray(before + reground * smooth, np.float32)


def _with_defect(rng: Random, surface: _Surface, defect_class: str) -> tuple[Flags, Field]:
    """Draw one defect: its mask [H, W] and the changed reflectance."""
    before = surface.reflectance
    least, most, skew = AREA_PX[defect_class]
    most = min(most, int(MAX_DEFECT_SHARE * np.count_nonzero(surface.on_tile)))
    area = int(least * (most / least) ** (rng.random() ** skew))
    shape = _SHAPES[defect_class](rng, (before.shape[0], before.shape[1]), math.sqrt(area / math.pi))
    depth = np.where(surface.on_tile, shape, np.float32(np.inf))
    mask = depth <= np.partition(depth, area - 1, axis=None)[area - 1]
    blend = cv2.GaussianBlur(mask.astype(np.float32), (2 * EDGE_PX + 1, 2 * EDGE_PX + 1), 0.8)
    return mask, np.asarray(before + blend * (_look(rng, before, defect_class) - before), np.float32)

"""Textured surfaces as reflectance maps, float32 [H, W], about 1 on average."""

import math
from collections.abc import Callable

import cv2
import numpy as np

from training.data.sample import Size
from training.data.synthesis.noise import (
    Field,
    Random,
    coordinates,
    fractal_noise,
    log_uniform,
    smooth_noise,
    streaks,
    white_noise,
)

SURFACES: tuple[str, ...] = ("brushed_steel", "cast", "rolled_strip", "woven", "granular", "glazed")


def reflectance(rng: Random, shape: Size, surface: str) -> Field:
    """Draw one surface of SURFACES with a random scale, direction and strength of its texture."""
    return np.asarray(_TEXTURES[surface](rng, shape), np.float32)


def _direction(rng: Random) -> float:
    """Texture direction in radians: usually parallel to an image axis, sometimes random."""
    straight = rng.choice([0.0, math.pi / 2]) + rng.normal(0, 0.03)
    return float(straight if rng.random() < 0.65 else rng.uniform(0, math.pi))


def _brushed_steel(rng: Random, shape: Size) -> Field:
    """Fine lines in one direction, some of them shiny, over broad bands."""
    angle, across = _direction(rng), log_uniform(rng, 1, 2.5)
    lines = streaks(rng, shape, log_uniform(rng, 30, 200), across, angle)
    lines += 0.7 * streaks(rng, shape, log_uniform(rng, 60, 800), log_uniform(rng, 3, 9), angle)
    shining = np.maximum(lines - rng.uniform(2, 3), 0) * rng.uniform(0, 3)
    texture = rng.uniform(0.02, 0.11) * (lines + shining)
    texture += rng.uniform(0, 0.08) * streaks(rng, shape, 900, 30, angle)
    if rng.random() < 0.25:  # brushed twice
        texture += rng.uniform(0.02, 0.05) * streaks(rng, shape, 60, across, angle + rng.normal(0, 0.5))
    return np.asarray(1 + texture + rng.uniform(0, 0.05) * white_noise(rng, shape), np.float32)


def _cast(rng: Random, shape: Size) -> Field:
    """A bumpy surface under oblique light, with fine grain."""
    bumps = fractal_noise(rng, shape, log_uniform(rng, 5, 40), 4)
    if rng.random() < 0.4:  # sand: rounded bumps with sharp valleys
        bumps = np.abs(bumps)
    angle = rng.uniform(0, 2 * math.pi)
    slope = math.cos(angle) * cv2.Sobel(bumps, cv2.CV_32F, 1, 0) + math.sin(angle) * cv2.Sobel(
        bumps, cv2.CV_32F, 0, 1
    )
    texture = rng.uniform(0.03, 0.16) * slope / max(float(slope.std()), 1e-6)
    texture += rng.uniform(0, 0.1) * fractal_noise(rng, shape, log_uniform(rng, 40, 150), 2)
    return np.asarray(1 + texture + rng.uniform(0.01, 0.08) * white_noise(rng, shape), np.float32)


def _rolled_strip(rng: Random, shape: Size) -> Field:
    """A smooth strip: bands along the rolling direction, clouds of scale and fine grain."""
    angle = _direction(rng)
    texture = rng.uniform(0.01, 0.06) * streaks(rng, shape, 600, log_uniform(rng, 6, 60), angle)
    texture += rng.uniform(0.005, 0.05) * streaks(rng, shape, log_uniform(rng, 15, 80), 2.5, angle)
    scale = fractal_noise(rng, shape, log_uniform(rng, 10, 80), 3)
    texture += rng.uniform(0, 0.07) * np.tanh(rng.uniform(0.5, 2) * scale)
    return 1 + texture + rng.uniform(0.01, 0.06) * white_noise(rng, shape)


def _woven(rng: Random, shape: Size) -> Field:
    """Woven threads, plain or twill weave, slightly bent."""
    period, angle = log_uniform(rng, 5, 22), _direction(rng)
    bend = rng.uniform(0.05, 0.35) * period
    along, across = coordinates(shape, angle)
    warp = (along + bend * smooth_noise(rng, shape, 50, 50)) / period
    weft = (across + bend * smooth_noise(rng, shape, 50, 50)) / (period * rng.uniform(0.7, 1.4))
    repeat = int(rng.choice([2, 2, 3, 4]))
    phase = np.floor(warp) + np.floor(weft)
    over = np.mod(phase, repeat) < repeat // 2 + (repeat == 3) * int(rng.integers(2))
    crown = np.where(over, np.mod(warp, 1), np.mod(weft, 1)) - 0.5  # across the upper thread
    dive = np.where(over, np.mod(weft, 1), np.mod(warp, 1)) - 0.5  # along the upper thread
    round_ = 1 - rng.uniform(1, 2.6) * crown**2 - rng.uniform(0.3, 1.4) * dive**2
    tone = rng.uniform(0, 0.3) * (over - 0.5)
    thread = np.where(
        over, streaks(rng, shape, 90, period, angle + math.pi / 2), streaks(rng, shape, 90, period, angle)
    )
    texture = rng.uniform(0.3, 1) * (round_ - round_.mean()) + tone + rng.uniform(0.02, 0.08) * thread
    return np.asarray(1 + texture + rng.uniform(0.02, 0.1) * white_noise(rng, shape), np.float32)


def _granular(rng: Random, shape: Size) -> Field:
    """Stones or grit: grains of one tone each in a darker binder."""
    size = log_uniform(rng, 3, 26)
    texture = _grains(rng, shape, size)
    if rng.random() < 0.5:  # two sizes: the brighter grain is visible
        texture = np.maximum(texture, _grains(rng, shape, size * rng.uniform(2, 4)))
    if rng.random() < 0.4:  # a few pale stones
        pale = fractal_noise(rng, shape, log_uniform(rng, 5, 14), 2) > rng.uniform(1.6, 2.4)
        texture = np.where(pale, rng.uniform(0.2, 0.9), texture)
    texture = texture - texture.mean() + rng.uniform(0, 0.08) * fractal_noise(rng, shape, 60, 2)
    return np.asarray(1 + texture + rng.uniform(0.02, 0.12) * white_noise(rng, shape), np.float32)


def _grains(rng: Random, shape: Size, size: float) -> Field:
    """Cells of about `size` px around random points, each of one tone, with dark seams."""
    count = max(4, round(shape[0] * shape[1] / max(size, 2.0) ** 2))
    seeds = np.full(shape, 255, np.uint8)
    seeds[rng.integers(shape[0], size=count), rng.integers(shape[1], size=count)] = 0
    _, cells = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    inside = np.full(shape, 255, np.uint8)
    inside[:, 1:][cells[:, 1:] != cells[:, :-1]] = 0
    inside[1:][cells[1:] != cells[:-1]] = 0
    depth = np.asarray(cv2.distanceTransform(inside, cv2.DIST_L2, 3), np.float32)
    tones = rng.standard_normal(count + 1, dtype=np.float32) * np.float32(log_uniform(rng, 0.08, 0.3))
    darker = rng.uniform(0, min(0.7, 5 / size))  # wide seams would look like cracks
    seams = darker * np.exp(-depth / np.float32(log_uniform(rng, 0.03, 0.3) * size))
    grains = np.asarray(tones[cells] - seams, np.float32)
    bend, period = 0.12 * size, max(2.0, size / 2)
    rows, columns = np.indices(shape, np.float32)
    x = columns + bend * smooth_noise(rng, shape, period, period)
    y = rows + bend * smooth_noise(rng, shape, period, period)
    return np.asarray(cv2.remap(grains, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.float32)


def _glazed(rng: Random, shape: Size) -> Field:
    """A glossy coating: little texture, orange peel, reflections of lamps with soft borders."""
    peel = rng.uniform(0, 0.03) * fractal_noise(rng, shape, log_uniform(rng, 8, 40), 2)
    decor = rng.uniform(0, 0.12) * np.tanh(2 * fractal_noise(rng, shape, log_uniform(rng, 40, 160), 2))
    glaze = 1 + peel + decor + rng.uniform(0.002, 0.02) * white_noise(rng, shape)
    for _ in range(int(rng.integers(0, 3))):
        along, across = coordinates(
            shape, _direction(rng), (rng.random() * shape[1], rng.random() * shape[0])
        )
        lamp = np.maximum(np.abs(along) / log_uniform(rng, 0.1, 3), np.abs(across)) + 60 * peel
        edge = (rng.uniform(0.03, 0.2) * min(shape) - lamp) / rng.uniform(3, 25)
        glaze += rng.uniform(0.05, 0.5) / (1 + np.exp(np.clip(-edge, -20, 20)))
    return np.asarray(glaze, np.float32)


_TEXTURES: dict[str, Callable[[Random, Size], Field]] = {
    "brushed_steel": _brushed_steel, "cast": _cast, "rolled_strip": _rolled_strip,
    "woven": _woven, "granular": _granular, "glazed": _glazed,
}  # fmt: skip

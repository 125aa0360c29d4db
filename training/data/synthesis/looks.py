"""Appearance of each defect class: how it changes the grey levels inside its mask."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from training.data.synthesis.noise import (
    Field,
    Flags,
    Random,
    blurred,
    fractal_noise,
    log_uniform,
    smooth_noise,
    streaks,
)

# Probability that a defect of the class is darker than its surroundings.
DARK_SHARE: dict[str, float] = {
    "scratch": 0.45, "crack": 0.93, "pit": 0.85, "inclusion": 0.75,
    "stain": 0.7, "dent": 0.5, "fray": 0.6, "uneven": 0.5,
}  # fmt: skip


@dataclass(frozen=True)
class Window:
    """The part of an image around a defect."""

    before: Field  # [h, w], grey levels
    mask: Flags  # [h, w]
    depth: Field  # [h, w], distance to the mask's outline in px, 0 outside
    texture: float  # standard deviation of the surface's texture, grey levels
    grain: float  # standard deviation of its noise, grey levels


@dataclass(frozen=True)
class Look:
    """Change of a window by a defect: shifted grey level, hidden texture, added texture."""

    level: Field  # [h, w], multiplied by the signed contrast of the defect
    cover: float = 0.0  # share of the surface's texture that is hidden
    texture: Field | None = None  # [h, w], grey levels added


def look_of(rng: Random, window: Window, defect_class: str) -> Look:
    """Draw the appearance of one defect of this class."""
    return _LOOKS[defect_class](rng, window)


def _inner(window: Window) -> Field:
    """Depth from 0 at the outline to 1 at the deepest point."""
    return window.depth / max(float(window.depth.max()), 1.0)


def _shading(rng: Random, height: Field) -> Field:
    """Slope of a height map towards a light, -1 to 1: one flank is bright, the other in shadow."""
    angle = rng.uniform(0, 2 * math.pi)
    x = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3)
    y = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3)
    slope = np.asarray(math.cos(angle) * x + math.sin(angle) * y, np.float32)
    return slope / max(float(np.abs(slope).max()), 1e-6)


def _scratch(rng: Random, window: Window) -> Look:
    level = 1 + 0.25 * smooth_noise(rng, window.before.shape, 12, 12)
    if rng.random() < 0.4:  # a groove: one flank is bright, the other in shadow
        level = level * 0.4 + _shading(rng, blurred(window.mask.astype(np.float32), 1.0))
    elif rng.random() < 0.5:  # a core with higher contrast than the rim
        level = level * (0.5 + 0.5 * _inner(window))
    return Look(np.asarray(level, np.float32), cover=rng.uniform(0, 0.6))


def _crack(rng: Random, window: Window) -> Look:
    level = (0.6 + 0.4 * _inner(window)) * (1 + 0.2 * smooth_noise(rng, window.before.shape, 8, 8))
    return Look(np.asarray(level, np.float32), cover=rng.uniform(0.2, 0.9))


def _pit(rng: Random, window: Window) -> Look:
    shape = window.before.shape
    bowl = 0.5 + 0.5 * _inner(window)
    rough = rng.uniform(0.1, 0.5) * fractal_noise(rng, shape, 8, 3)
    walls = rng.uniform(0, 1.2) * _shading(rng, blurred(window.mask.astype(np.float32), 1.5))
    return Look(np.asarray(bowl + rough + walls, np.float32), cover=rng.uniform(0.5, 1))


def _inclusion(rng: Random, window: Window) -> Look:
    shape = window.before.shape
    level = 1 + rng.uniform(0.1, 0.5) * fractal_noise(rng, shape, log_uniform(rng, 4, 24), 3)
    return Look(np.asarray(level, np.float32), cover=rng.uniform(0.2, 1))


def _stain(rng: Random, window: Window) -> Look:
    """A tint through which the texture stays visible; dried stains have a rim."""
    smooth = 1 + 0.25 * smooth_noise(rng, window.before.shape, 30, 30)
    rim = np.exp(-window.depth / np.float32(rng.uniform(1.5, 5)))
    level = smooth + (rng.uniform(0.5, 2) * rim if rng.random() < 0.4 else 0)
    tint = window.before / max(float(window.before.mean()), 1.0)
    return Look(np.asarray(level * (0.4 + 0.6 * tint), np.float32), cover=rng.uniform(0, 0.4))


def _dent(rng: Random, window: Window) -> Look:
    """Light and shadow on opposite flanks; the texture stays."""
    depth = _inner(window)
    hollow = depth * depth * (3 - 2 * depth)
    hollow = blurred(hollow, max(1.0, float(window.depth.max()) / 4))
    level = 2 * _shading(rng, hollow) + rng.uniform(0, 0.5) * hollow
    return Look(np.asarray(level, np.float32))


def _fray(rng: Random, window: Window) -> Look:
    """The surface's texture is torn off and replaced by loose fibres."""
    shape = window.before.shape
    level = 1 + 0.1 * smooth_noise(rng, shape, 25, 25)
    angle, strength = rng.uniform(0, math.pi), rng.uniform(0.1, 0.7) * max(window.texture, 6)
    fibres = np.maximum(streaks(rng, shape, 24, 1.6, angle) - 0.8, 0)
    fibres += np.maximum(streaks(rng, shape, 16, 1.6, angle + rng.normal(0.8, 0.4)) - 1.2, 0)
    return Look(
        np.asarray(level, np.float32), cover=rng.uniform(0.6, 1), texture=np.float32(strength) * fibres
    )


def _uneven(rng: Random, window: Window) -> Look:
    """A reground area with a different direction, roughness and grey level."""
    shape = window.before.shape
    lines = streaks(rng, shape, log_uniform(rng, 4, 24) * 8, 1.3, rng.uniform(0, math.pi))
    rough = rng.uniform(0.3, 1.2) * max(window.texture, 5)
    level = rng.uniform(0.3, 1) + 0.2 * smooth_noise(rng, shape, 50, 50)
    return Look(np.asarray(level, np.float32), cover=rng.uniform(0.3, 0.9), texture=np.float32(rough) * lines)


_LOOKS: dict[str, Callable[[Random, Window], Look]] = {
    "scratch": _scratch, "crack": _crack, "pit": _pit, "inclusion": _inclusion,
    "stain": _stain, "dent": _dent, "fray": _fray, "uneven": _uneven,
}  # fmt: skip

"""From a reflectance map to a picture: light, focus, exposure, noise."""

import math

import numpy as np

from training.data.sample import Pixels
from training.data.synthesis.noise import (
    Field,
    Random,
    blurred,
    coordinates,
    log_uniform,
    smooth_noise,
    white_noise,
)


def photograph(rng: Random, reflectance: Field) -> Pixels:
    """Return a picture, uint8 [H, W], of a surface under a light and through a camera drawn at random."""
    shape = (reflectance.shape[0], reflectance.shape[1])
    along, across = coordinates(shape, rng.uniform(0, 2 * math.pi))
    half = np.float32(max(shape) / 2)
    light = 1 + np.float32(rng.normal(0, 0.18)) * along / half
    light -= np.float32(rng.uniform(0, 0.15)) * (np.square(along) + np.square(across)) / half**2
    light += np.float32(rng.uniform(0, 0.15)) * smooth_noise(rng, shape, 120, 120)
    contrast = log_uniform(rng, 0.6, 2.2)
    seen = np.maximum(light, 0.2) * np.maximum(1 + np.float32(contrast) * (reflectance - 1), 0.02)
    focus = rng.exponential(0.6)
    if focus > 0.35:
        seen = blurred(seen, min(focus, 1.6))
    noise = np.float32(log_uniform(rng, 0.6, 5)) * white_noise(rng, shape)
    grey = np.float32(rng.uniform(45, 205)) * seen + np.float32(rng.uniform(0, 20)) + noise
    return np.asarray(np.clip(np.rint(grey), 0, 255), np.uint8)

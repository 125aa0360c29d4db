"""Random fields, float32 [H, W], from which surfaces and defects are composed."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.sample import Size

Field = NDArray[np.float32]
Flags = NDArray[np.bool_]
Random = np.random.Generator


def log_uniform(rng: Random, least: float, most: float) -> float:
    """A log-uniform random number between `least` and `most`, both positive."""
    return math.exp(rng.uniform(math.log(least), math.log(most)))


def white_noise(rng: Random, shape: Size) -> Field:
    """Independent values of unit variance."""
    return rng.standard_normal(shape, dtype=np.float32)


def smooth_noise(rng: Random, shape: Size, rows: float, columns: float) -> Field:
    """Smooth noise, about unit variance, with one independent value every `rows` x `columns` pixels."""
    grid = (max(2, round(shape[0] / rows)), max(2, round(shape[1] / columns)))
    return _enlarged(white_noise(rng, grid), shape)


def fractal_noise(rng: Random, shape: Size, coarsest: float, octaves: int = 4) -> Field:
    """Fractal noise: octaves with periods of `coarsest` px, half of it, ...; about unit variance."""
    total, power = np.zeros(shape, np.float32), 0.0
    for octave in range(octaves):
        period, weight = coarsest / 2**octave, 0.6**octave
        if period < 1:
            break
        total += np.float32(weight) * smooth_noise(rng, shape, period, period)
        power += weight**2
    return total / np.float32(math.sqrt(power))


def streaks(rng: Random, shape: Size, along: float, across: float, angle: float) -> Field:
    """Noise stretched in the direction `angle` (radians from the rows' direction), about unit variance.

    One independent value every `along` px in that direction and every `across` px across it.
    """
    side = math.ceil(math.hypot(*shape))
    layer = smooth_noise(rng, (side, side), across, along)
    cos, sin = math.cos(angle), math.sin(angle)
    x, y = shape[1] / 2, shape[0] / 2  # the centres of image and layer coincide
    turn = np.array(
        [[cos, sin, side / 2 - cos * x - sin * y], [-sin, cos, side / 2 + sin * x - cos * y]], np.float32
    )
    turned = cv2.warpAffine(
        layer, turn, shape[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT
    )
    return np.asarray(turned, np.float32)


def coordinates(shape: Size, angle: float, centre: tuple[float, float] | None = None) -> tuple[Field, Field]:
    """Distances in px along and across the direction `angle`, from `centre` (x, y), else the image's."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    centre_x, centre_y = centre or (shape[1] / 2, shape[0] / 2)
    x, y = (columns - centre_x).astype(np.float32), (rows - centre_y).astype(np.float32)
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    return x * cos + y * sin, y * cos - x * sin


def blurred(field: Field, sigma: float) -> Field:
    """The field after a Gaussian blur of `sigma` px."""
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.float32)


def _enlarged(grid: Field, shape: Size) -> Field:
    return np.asarray(cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)

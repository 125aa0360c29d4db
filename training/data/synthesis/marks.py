"""Tolerated marks of good surfaces, as factors on the reflectance: a mark alone is no defect."""

import math

import cv2
import numpy as np

from training.data.sample import Size
from training.data.synthesis.noise import (
    Field,
    Flags,
    Random,
    blurred,
    coordinates,
    fractal_noise,
    log_uniform,
    smooth_noise,
)

MOST_BEYOND = 0.12  # largest share of the image's side beyond an edge of the part


def tolerated_marks(rng: Random, shape: Size) -> Field:
    """Factor [H, W], about 1, with a random choice of clouds, faint lines, specks and grooves."""
    factor = np.ones(shape, np.float32)
    if rng.random() < 0.5:
        factor *= _clouds(rng, shape)
    if rng.random() < 0.4:
        factor *= _faint_lines(rng, shape)
    if rng.random() < 0.4:
        factor *= _specks(rng, shape)
    if rng.random() < 0.2:
        factor *= _grooves(rng, shape)
    return factor


def part_edges(rng: Random, shape: Size) -> tuple[Field, Flags]:
    """A factor that darkens the background beyond the part's edges, if any, and the mask of the part."""
    factor, part = np.ones(shape, np.float32), np.ones(shape, np.bool_)
    if rng.random() >= 0.2:
        return factor, part
    tilt, beyond = rng.normal(0, 0.02), rng.uniform(0.05, 0.6)
    for side in rng.permutation(4)[: int(rng.integers(1, 4))]:
        inward, _ = coordinates(shape, side * math.pi / 2 + tilt)
        half = (shape[1] if side % 2 == 0 else shape[0]) / 2
        inside = inward + half * (1 - rng.uniform(0, 2 * MOST_BEYOND))
        bevel = rng.uniform(-0.3, 0.3) * np.exp(-np.maximum(inside, 0) / rng.uniform(2, 12))
        factor *= np.clip(inside + 0.5, 0, 1) * (1 - beyond) * (1 + bevel) + beyond
        part &= inside > 1
    return factor, part


def _clouds(rng: Random, shape: Size) -> Field:
    """Stains without an outline."""
    size = log_uniform(rng, 0.12, 0.5) * min(shape)
    clouds = np.clip(fractal_noise(rng, shape, size, 2) - rng.uniform(0, 1.2), 0, 1.5)
    return np.asarray(1 + rng.uniform(-0.2, 0.15) * clouds, np.float32)


def _faint_lines(rng: Random, shape: Size) -> Field:
    """Veins and hairlines, one pixel wide, that fade in and out."""
    size = log_uniform(rng, 25, 90)
    winding = smooth_noise(rng, shape, size, size * log_uniform(rng, 0.5, 2))
    veins = np.exp(-np.square(winding * size / 4)) * np.clip(smooth_noise(rng, shape, 45, 45), 0, 1)
    lines = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(0, 5))):
        x, y, angle = rng.random() * shape[1], rng.random() * shape[0], rng.uniform(0, 2 * math.pi)
        length = rng.uniform(0.1, 0.6) * max(shape)
        end = (round(x + length * math.cos(angle)), round(y + length * math.sin(angle)))
        cv2.line(lines, (round(x), round(y)), end, rng.uniform(-0.05, 0.05), 1, cv2.LINE_AA)
    return np.asarray(1 - rng.uniform(0, 0.08) * veins + lines, np.float32)


def _specks(rng: Random, shape: Size) -> Field:
    """Dust specks of one or two pixels."""
    specks = np.zeros(shape, np.float32)
    count = int(log_uniform(rng, 3, 120))
    specks[rng.integers(shape[0], size=count), rng.integers(shape[1], size=count)] = rng.uniform(
        -0.6, 0.4, count
    )
    return np.asarray(1 + blurred(specks, rng.uniform(0.4, 0.7)), np.float32)


def _grooves(rng: Random, shape: Size) -> Field:
    """Straight, evenly spaced grooves that belong to the part, across the whole image."""
    _, across = coordinates(shape, rng.choice([0.0, math.pi / 2]) + rng.normal(0, 0.02))
    spacing, width = rng.uniform(0.2, 0.9) * min(shape), log_uniform(rng, 1, 6)
    phase = np.abs(np.mod(across + rng.uniform(0, spacing), spacing) - spacing / 2)
    groove = 1 / (1 + np.exp(np.clip((phase - width) / rng.uniform(0.3, 1.5), -20, 20)))
    return np.asarray(1 + rng.uniform(-0.7, 0.3) * groove, np.float32)

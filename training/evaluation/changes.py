"""Controlled changes of an image, as caused by camera, light, lens and mounting."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.sample import Bits, Pixels

Changed = tuple[Pixels, Bits | None]
BORDER = cv2.BORDER_REFLECT_101


@dataclass(frozen=True)
class Change:
    """One change in several strengths; `apply` also rotates or scales the class bits if pixels move."""

    name: str
    unit: str
    strengths: tuple[float, ...]
    apply: Callable[[Pixels, Bits | None, float], Changed]


def _on_pixels(change: Callable[[Pixels, float], Pixels]) -> Callable[[Pixels, Bits | None, float], Changed]:
    """A change that moves no pixel."""
    return lambda pixels, bits, strength: (change(pixels, strength), bits)


def _gain(pixels: Pixels, gain: float) -> Pixels:
    return _levels(pixels * np.float32(gain))


def _contrast(pixels: Pixels, factor: float) -> Pixels:
    mean = np.float32(pixels.mean())
    return _levels((pixels - mean) * np.float32(factor) + mean)


def _inverted(pixels: Pixels, _: float) -> Pixels:
    return np.asarray(255 - pixels, np.uint8)


def _inverted_in_part(pixels: Pixels, share: float) -> Pixels:
    """Invert the first columns."""
    changed, end = pixels.copy(), round(share * pixels.shape[1])
    changed[:, :end] = 255 - changed[:, :end]
    return changed


def _solarised(pixels: Pixels, level: float) -> Pixels:
    return np.where(pixels < level, pixels, 255 - pixels).astype(np.uint8)


def _gamma(pixels: Pixels, exponent: float) -> Pixels:
    return _levels(np.float32(255) * np.power(pixels * np.float32(1 / 255), np.float32(exponent)))


def _stretched(pixels: Pixels, share: float) -> Pixels:
    low, high = (np.float32(each) for each in np.quantile(pixels, (share, 1 - share)))
    return _levels((pixels - low) * (255 / max(high - low, np.float32(1))))


def _noise_alone(pixels: Pixels, deviation: float) -> Pixels:
    return _noise(np.full_like(pixels, 128), deviation)


def _denoised(pixels: Pixels, side: float) -> Pixels:
    return np.asarray(cv2.medianBlur(pixels, int(side)), np.uint8)


def _mirrored(pixels: Pixels, bits: Bits | None, _: float) -> Changed:
    """Mirror left and right."""
    return np.ascontiguousarray(pixels[:, ::-1]), None if bits is None else np.ascontiguousarray(
        bits[:, ::-1]
    )


def _blur(pixels: Pixels, sigma: float) -> Pixels:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma, borderType=BORDER), np.uint8)


def _motion(pixels: Pixels, length: float) -> Pixels:
    return np.asarray(cv2.blur(pixels, (int(length), 1), borderType=BORDER), np.uint8)


def _noise(pixels: Pixels, deviation: float) -> Pixels:
    noise = np.random.default_rng(0).standard_normal(pixels.shape, np.float32)
    return _levels(pixels + noise * np.float32(deviation))


def _jpeg(pixels: Pixels, quality: float) -> Pixels:
    reverse = (..., slice(None, None, -1)) if pixels.ndim == 3 else ...  # OpenCV's order is blue, green, red
    data = cv2.imencode(".jpg", pixels[reverse], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.uint8)[reverse]


def _turn(pixels: Pixels, bits: Bits | None, degrees: float) -> Changed:
    """Rotate counter-clockwise, losslessly by right angles; else the size stays and corners are mirrored."""
    quarters, rest = divmod(degrees, 90)
    if rest == 0:
        turned = None if bits is None else np.ascontiguousarray(np.rot90(bits, int(quarters)))
        return np.ascontiguousarray(np.rot90(pixels, int(quarters))), turned
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    moved = cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=BORDER)
    if bits is None:
        return np.asarray(moved, np.uint8), None
    marks = cv2.warpAffine(bits, matrix, (width, height), flags=cv2.INTER_NEAREST, borderMode=BORDER)
    return np.asarray(moved, np.uint8), np.asarray(marks, np.uint16)


def _scale(pixels: Pixels, bits: Bits | None, factor: float) -> Changed:
    size = (max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    scaled = np.asarray(cv2.resize(pixels, size, interpolation=how), np.uint8)
    if bits is None:
        return scaled, None
    return scaled, np.asarray(cv2.resize(bits, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint16)


def _levels(values: NDArray[np.floating[Any]]) -> Pixels:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


CHANGES = (
    Change("brightness", "gain", (0.5, 0.75, 1.25, 1.5), _on_pixels(_gain)),
    Change("contrast", "factor", (0.5, 0.75, 1.25, 1.5), _on_pixels(_contrast)),
    Change("gaussian blur", "sigma in px", (1, 2, 4), _on_pixels(_blur)),
    Change("motion blur", "px along a row", (5, 9, 15), _on_pixels(_motion)),
    Change("noise", "standard deviation in grey levels", (5, 10, 20), _on_pixels(_noise)),
    Change("JPEG", "quality", (90, 70, 50, 30), _on_pixels(_jpeg)),
    Change("rotation", "degrees", (2, 5, 10, 90, 180), _turn),
    Change("scale", "factor", (0.5, 0.75, 1.25, 1.5), _scale),
)
# Changes too strong for a model, which the input gate should stop.
BEYOND = (
    Change("under-exposure", "gain", (0.5, 0.35, 0.25), _on_pixels(_gain)),
    Change("over-exposure", "gain", (1.5, 2.5, 4.0), _on_pixels(_gain)),
    Change("inverted", "sign of the contrast", (-1,), _on_pixels(_inverted)),
)
# Manipulations of the whole image, for the study of the gate; some are harmless.
MANIPULATIONS = (
    BEYOND[-1],
    Change("inverted in part", "share of the columns", (0.25, 0.5, 0.75), _on_pixels(_inverted_in_part)),
    Change("solarised", "level from which levels are inverted", (128,), _on_pixels(_solarised)),
    Change("gamma", "exponent", (0.5, 2.0), _on_pixels(_gamma)),
    Change("contrast stretched", "share clipped at each end", (0.01, 0.1), _on_pixels(_stretched)),
    Change("noise", "standard deviation in grey levels", (10, 20), _on_pixels(_noise)),
    Change("noise alone", "standard deviation in grey levels", (20,), _on_pixels(_noise_alone)),
    Change("denoised", "side of the median filter in px", (3, 7), _on_pixels(_denoised)),
    Change("mirrored", "left and right", (1,), _mirrored),
    Change("rotation", "degrees", (180,), _turn),
)

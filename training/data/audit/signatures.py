"""Image signatures for the near-duplicate search: small, and nearly invariant to exposure.

An image is resized to a working scale that all images of similar size share, so that a crop keeps its
scale. Each pixel is then normalised by the local mean and contrast, which makes it nearly invariant to
gain, offset and gamma. The amplitude spectrum is invariant to shifts and to a rotation by 180 degrees;
it rotates with the image.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from training.data.sample import DatasetError, Pixels, Sample

WORKING_SIDE_PX = 96  # sqrt(height * width) of the usual image at working scale
CONTRAST_SIGMA_PX = 4.0  # in working px, of the Gaussian for local mean and contrast
NOISE_LEVELS = 2.0  # grey levels; added to the contrast so that weak noise is not amplified
SPECTRUM_SIDE_PX = 128
FREQUENCIES = 20  # kept in each direction, from 0 on; higher ones are noise
STEPS_PER_CONTRAST = 42  # int8 steps per unit of local contrast; 3 units still fit into int8
_PROBES = 64  # about how many images the usual side is measured on

Working = NDArray[np.int8]
Spectrum = NDArray[np.float16]


@dataclass(frozen=True)
class Signature:
    """The working image [h, w] and the low frequencies of its log amplitude spectrum [39, 39]."""

    working: Working
    spectrum: Spectrum


def usual_side(samples: Sequence[Sample]) -> float:
    """The median of sqrt(height * width), in px, of images spread evenly over the set."""
    step = max(1, len(samples) // _PROBES)
    sides = []
    for sample in samples[::step]:
        try:
            height, width = sample.pixels().shape
        except DatasetError:  # reported by the audit of that image
            continue
        sides.append(math.sqrt(height * width))
    return float(np.median(sides)) if sides else float(WORKING_SIDE_PX)


def signature(pixels: Pixels, usual: float) -> Signature:
    """Return the signature of a grey image [H, W]; `usual` is the set's usual side in px."""
    working = local_contrast(_at_working_scale(pixels, usual))
    return Signature(working, _spectrum(working))


def local_contrast(grey: NDArray[np.float32]) -> Working:
    """Each pixel [h, w] minus the local mean, divided by the local contrast, as int8 steps."""
    detail = grey - cv2.GaussianBlur(grey, (0, 0), CONTRAST_SIGMA_PX)
    contrast = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), CONTRAST_SIGMA_PX))
    steps = STEPS_PER_CONTRAST * detail / (contrast + NOISE_LEVELS)
    return np.clip(np.rint(steps), -127, 127).astype(np.int8)


def _at_working_scale(pixels: Pixels, usual: float) -> NDArray[np.float32]:
    height, width = pixels.shape
    side = math.sqrt(height * width)
    if not usual / 2 <= side <= usual * 2:  # its size is unusual: use a scale of its own
        usual = side
    scale = min(WORKING_SIDE_PX / usual, 4 * WORKING_SIDE_PX / max(height, width))
    size = max(8, round(width * scale)), max(8, round(height * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.float32)


def _spectrum(working: Working) -> Spectrum:
    """Low frequencies of the smoothed log amplitude spectrum, zero frequency in the centre."""
    middle = tuple(slice(max(0, (n - SPECTRUM_SIDE_PX) // 2), None) for n in working.shape)
    part = working[middle][:SPECTRUM_SIDE_PX, :SPECTRUM_SIDE_PX].astype(np.float32)
    window = np.outer(*(np.hanning(n + 2)[1:-1] for n in part.shape)).astype(np.float32)
    padded = fft.fft2((part - part.mean()) * window, (SPECTRUM_SIDE_PX, SPECTRUM_SIDE_PX))
    amplitude = cv2.GaussianBlur(np.abs(np.fft.fftshift(padded)).astype(np.float32), (0, 0), 1.0)
    centre, reach = SPECTRUM_SIDE_PX // 2, FREQUENCIES - 1
    low = amplitude[centre - reach : centre + reach + 1, centre - reach : centre + reach + 1]
    return np.asarray(np.log(low / (np.linalg.norm(low) + 1e-6) + 1e-3), np.float16)

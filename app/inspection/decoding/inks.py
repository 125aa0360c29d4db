"""CMYK to RGB, some rows at a time."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.inspection.cancellation import Cancellation
from app.inspection.decoding.depth import blocks


def rgb_of(inks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB of some rows of inks, uint8 [H, W, 4], 255 being full ink, without a colour profile."""
    height, width = inks.shape[:2]
    block = Image.frombuffer("CMYK", (width, height), np.ascontiguousarray(inks), "raw", "CMYK", 0, 1)
    return np.asarray(block.convert("RGB"))


def image_of(
    inks: NDArray[np.uint8], cancellation: Cancellation, *, inverted: bool = False
) -> NDArray[np.uint8]:
    """As `rgb_of`, for a whole image; with `inverted`, 0 is full ink."""
    out = np.empty((*inks.shape[:2], 3), np.uint8)
    for rows in blocks(inks, cancellation):
        out[rows] = rgb_of(~inks[rows] if inverted else inks[rows])
    return out

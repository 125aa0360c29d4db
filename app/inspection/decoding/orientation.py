"""Turn an image upright by its EXIF orientation, 1 to 8."""

import struct
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Exif

TAG = 0x0112
UNREADABLE = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    struct.error,
    Warning,
)
Scalar = TypeVar("Scalar", bound=np.generic)


def exif_orientation(read: Callable[[], Exif]) -> int:
    """The EXIF orientation; 1 if it is missing or unreadable, as in image viewers."""
    try:
        return int(read().get(TAG, 1))
    except UNREADABLE:
        return 1


def exif_of(data: bytes) -> Exif:
    """Parse EXIF data."""
    exif = Exif()
    exif.load(data)
    return exif


def upright(pixels: NDArray[Scalar], orientation: int) -> NDArray[Scalar]:
    """The image turned upright, contiguous in memory."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)

"""Turning an image upright by its EXIF orientation, 1 to 8, and by nothing else."""

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
    """What EXIF data says; an image whose EXIF cannot be read is taken as stored, as viewers do."""
    try:
        return int(read().get(TAG, 1))
    except UNREADABLE:
        return 1


def exif_of(data: bytes) -> Exif:
    """EXIF data as files hold it."""
    exif = Exif()
    exif.load(data)
    return exif


def upright(pixels: NDArray[Scalar], orientation: int) -> NDArray[Scalar]:
    """The image turned, without gaps in memory."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)

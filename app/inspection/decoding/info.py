"""Size, hash and pixel format of an image, for the answer."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from app.inspection.cancellation import NEVER, Cancellation
from app.inspection.decoding.raw import RawFrame
from app.inspection.results import ImageInfo

HASHED = 1 << 22  # bytes hashed between two checks


def image_info(
    image: NDArray[np.uint8], data: bytes | RawFrame, cancellation: Cancellation = NEVER
) -> ImageInfo:
    """Size of the decoded image, and hash and pixel format of the bytes sent."""
    sent, pixel_format = (data.data, data.pixel_format) if isinstance(data, RawFrame) else (data, None)
    found, view = hashlib.sha256(), memoryview(sent)
    for start in range(0, len(view), HASHED):
        cancellation.check()
        found.update(view[start : start + HASHED])
    return ImageInfo(image.shape[1], image.shape[0], found.hexdigest(), pixel_format)

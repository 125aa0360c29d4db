"""A small copy of an image, for lists of many."""

import cv2
import numpy as np
from numpy.typing import NDArray

PREVIEW_PX = 160  # longest side
QUALITY = 80


def preview(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy of an image, grey [H, W] or RGB [H, W, 3], at most PREVIEW_PX long; never enlarged."""
    height, width = image.shape[:2]
    scale = min(1.0, PREVIEW_PX / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def as_jpeg(image: NDArray[np.uint8]) -> bytes:
    """The image, grey [H, W] or RGB [H, W, 3], as a JPEG file."""
    in_order = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", in_order, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
    return encoded.tobytes()

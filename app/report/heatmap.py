"""The probability of any defect as colours over the image."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.png_encode import png_base64
from app.report.overlay import in_bgr, stroke_of

STRIP = 64  # rows at a time: the blend is in floating point, and an image may be large
OUTLINED = 512  # rows at a time
STRONGEST = 0.75  # opacity of the colour at the highest probability
CONTOUR = (255, 255, 255)
HALO = (0, 0, 0)


def draw(
    picture: NDArray[np.uint8],
    probability: NDArray[np.uint8],
    level: int,
    check: Callable[[], None] = lambda: None,
) -> NDArray[np.uint8]:
    """Colour an image by probability, and outline the area from the pixel threshold on.

    `picture` is grey [H, W] or RGB [H, W, 3], `probability` uint8 [H, W] (255 is certain), `level` the
    threshold on the same scale; returns BGR [H, W, 3]. Colours are viridis, from dark blue for 0 to yellow
    for 1: their lightness is even, so they work in grey and for colour-blind people (van der Walt and
    Smith, 2015). The lower the probability, the more of the surface shows through.
    `check` is called regularly, and may raise to stop.
    """
    canvas = in_bgr(picture)
    cover = (STRONGEST * np.sqrt(np.arange(256, dtype=np.float32) / 255))[:, None]
    tint, keep = _colours() * cover, 1 - cover
    for start in range(0, len(canvas), STRIP):
        check()
        rows = slice(start, start + STRIP)
        levels = probability[rows]
        canvas[rows] = np.rint(canvas[rows] * keep[levels] + tint[levels]).astype(np.uint8)
    _outline(canvas, probability, level, check)
    return canvas


def _outline(
    canvas: NDArray[np.uint8], probability: NDArray[np.uint8], level: int, check: Callable[[], None]
) -> None:
    """Draw a light line in a dark one around the area from `level` on: so a thin crack stays visible."""
    stroke = stroke_of(canvas)
    kernel, reach = np.ones((2 * stroke + 1,) * 2, np.uint8), 2 * stroke
    for start in range(0, len(canvas), OUTLINED):
        check()
        first, stop = max(0, start - reach), min(start + OUTLINED, len(canvas))
        above = (probability[first : stop + reach] >= level).astype(np.uint8)
        if not above.any():
            continue
        light = cv2.dilate(above, kernel)
        dark, own = cv2.dilate(light, kernel), slice(start - first, stop - first)
        canvas[start:stop][(dark - light)[own].view(np.bool_)] = HALO
        canvas[start:stop][(light - above)[own].view(np.bool_)] = CONTOUR


def scale_png() -> str:
    """The colours from probability 0 to 1, left to right, as a base64 PNG of 256 x 1 px."""
    return png_base64(_colours().astype(np.uint8)[None])


def _colours() -> NDArray[np.float32]:
    """BGR [256, 3] by probability level."""
    levels = np.arange(256, dtype=np.uint8)[None]
    return np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[0], dtype=np.float32)

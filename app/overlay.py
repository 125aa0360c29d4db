"""The picture with its defects drawn in, for people to look at."""

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.results import Defect, Inspection
from app.mask_formats import png_base64

# BGR, told apart on grey metal and by most colour-blind eyes (Okabe and Ito, 2008); used in turn.
COLOURS = (
    (0, 94, 213),
    (233, 180, 86),
    (115, 158, 0),
    (66, 228, 240),
    (178, 114, 0),
    (167, 121, 204),
    (0, 159, 230),
)


def draw(picture: NDArray[np.uint8], inspection: Inspection) -> str:
    """Outline every defect and write its class and score beside it.

    `picture` is the decoded picture, grey [H, W] or RGB [H, W, 3]; the answer a base64 PNG of its size.
    """
    conversion = cv2.COLOR_GRAY2BGR if picture.ndim == 2 else cv2.COLOR_RGB2BGR
    canvas = np.asarray(cv2.cvtColor(picture, conversion), dtype=np.uint8)
    stroke = max(1, round(max(canvas.shape[:2]) / 600))  # so that lines show at the size a screen can give
    for value in range(1, len(inspection.classes) + 1):
        mask = (inspection.label_map == value).astype(np.uint8)
        contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, contours, -1, _colour(value), stroke)
    for defect in inspection.defects:
        _caption(canvas, defect, _colour(inspection.classes.index(defect.defect_class) + 1), stroke)
    return png_base64(canvas)


def _colour(value: int) -> tuple[int, int, int]:
    return COLOURS[(value - 1) % len(COLOURS)]


def _caption(canvas: NDArray[np.uint8], defect: Defect, colour: tuple[int, int, int], stroke: int) -> None:
    """Write class and score above the defect, or below it where there is no room, on a dark plate."""
    text, font, scale = f"{defect.defect_class} {defect.score:.2f}", cv2.FONT_HERSHEY_SIMPLEX, 0.45 * stroke
    (width, height), below = cv2.getTextSize(text, font, scale, stroke)
    x, y, _, box_height = defect.bbox
    left = max(0, min(x, canvas.shape[1] - width))
    above = y - below - stroke
    bottom = above if above >= height else min(y + box_height + height + stroke, canvas.shape[0] - below)
    cv2.rectangle(canvas, (left, bottom - height), (left + width, bottom + below), (32, 32, 32), cv2.FILLED)
    cv2.putText(canvas, text, (left, bottom), font, scale, colour, stroke, cv2.LINE_AA)

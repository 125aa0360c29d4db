"""Draw stored inspections again: image, mask and overlay as PNG. All of it blocks."""

import json

import cv2
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import RowMapping

from app.history.errors import ImageNotKept
from app.history.history import History
from app.inspection.decoding.decode import DecodeLimits, decode
from app.inspection.decoding.raw import RawFrame
from app.inspection.png_encode import png_bytes
from app.inspection.results import Inspection
from app.inspection.rules.recipe import Recipe
from app.report import overlay
from app.schemas.inspections import InspectionAnswer


def upload_of(history: History, columns: RowMapping) -> bytes | RawFrame:
    """The image as it was received; raises ImageNotKept."""
    _, content = history.image(columns["id"])
    if columns["pixel_format"] is None:
        return content
    return RawFrame(content, columns["width"], columns["height"], columns["pixel_format"], columns["stride"])


def image_png(history: History, id: str, limits: DecodeLimits, recipe: Recipe | None) -> bytes:
    """The decoded image, 8 bits; raises InspectionNotFound, ImageNotKept, or an ImageError."""
    pixels = _decoded(history, history.store.columns(id), limits, recipe)
    return png_bytes(pixels if pixels.ndim == 2 else pixels[..., ::-1])


def mask_png(history: History, id: str) -> bytes:
    """The label map; raises InspectionNotFound or ImageNotKept."""
    found = history.mask(id)
    if found is not None:
        return found[1]
    columns = history.store.columns(id)
    return png_bytes(np.zeros((columns["height"], columns["width"]), np.uint8))


def overlay_png(history: History, id: str, limits: DecodeLimits, recipe: Recipe | None) -> bytes:
    """The image with the defects drawn in, and the recipe's regions where its text is still known.

    Raises InspectionNotFound, ImageNotKept, or an ImageError.
    """
    columns = history.store.columns(id)
    pixels = _decoded(history, columns, limits, recipe)
    label_map = cv2.imdecode(np.frombuffer(mask_png(history, id), np.uint8), cv2.IMREAD_UNCHANGED)
    if label_map is None:
        raise ImageNotKept(f"the mask of inspection {id} is damaged")
    drawn = overlay.draw(
        pixels,
        _inspection_of(columns, np.asarray(label_map, np.uint8)),
        recipe or Recipe(name=columns["recipe"]),
    )
    return png_bytes(drawn)


def _decoded(
    history: History, columns: RowMapping, limits: DecodeLimits, recipe: Recipe | None
) -> NDArray[np.uint8]:
    bits = columns["significant_bits"] or (None if recipe is None else recipe.significant_bits)
    return decode(upload_of(history, columns), limits, significant_bits=bits)


def _inspection_of(columns: RowMapping, label_map: NDArray[np.uint8]) -> Inspection:
    """The inspection as it was, but for what was only kept on request."""
    answer = InspectionAnswer.model_validate_json(columns["answer"])
    same = (
        *("verdict", "reasons", "defects", "image_probability", "image_threshold", "head_probability"),
        *("unexplained_probability", "head_threshold", "image", "timings_ms", "recipe", "part"),
    )
    return Inspection(
        **{name: getattr(answer, name) for name in same},
        label_map=label_map,
        classes=tuple(json.loads(columns["class_names"])),
        measured_dice=answer.dice.measured,
        estimated_dice=answer.dice.estimated,
    )

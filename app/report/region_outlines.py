"""A recipe's regions drawn on a picture: what is judged, what is ignored, and zones with their names."""

from collections.abc import Callable, Iterator
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.measuring.regions import rasterise
from app.inspection.rules.recipe import Recipe, Region
from app.report.captions import Box, label

Kind = Literal["roi", "ignore", "zone"]
LIGHT = (240, 240, 240)
DARK = (32, 32, 32)
HATCH = 8  # from one line of a hatching to the next, in strokes
DASH = 6  # in strokes, as is the gap after it


def outline(
    canvas: NDArray[np.uint8],
    recipe: Recipe,
    shape: tuple[int, int],
    stroke: int,
    check: Callable[[], None] = lambda: None,
) -> list[Box]:
    """Draw a recipe's regions on a canvas, BGR, of a picture of `shape`, from exactly the pixels judged.

    Regions of interest have a line, zones a dashed one and their name, and ignored regions are hatched.
    `check` is called for each region. Gives where the names lie.
    """
    names = []
    for kind, name, inside in _regions(recipe, shape):
        check()
        size = (canvas.shape[1], canvas.shape[0])
        mask = np.asarray(cv2.resize(inside.view(np.uint8), size, interpolation=cv2.INTER_NEAREST), np.uint8)
        if kind == "ignore":
            _hatch(canvas, mask, stroke)
        else:
            _line(canvas, mask, stroke, dashed=kind == "zone")
        if name and mask.any():
            x, y, _, _ = cv2.boundingRect(mask)
            names.append(label(canvas, name, (x + 3 * stroke, y + 3 * stroke), stroke))
    return names


def _regions(recipe: Recipe, shape: tuple[int, int]) -> Iterator[tuple[Kind, str, NDArray[np.bool_]]]:
    def inside(region: Region) -> NDArray[np.bool_]:
        return rasterise(region.corners_px(recipe.part_frame, recipe.pixel_pitch_mm), shape)

    for region in recipe.ignore:
        yield "ignore", "", inside(region)
    for region in recipe.polygons:
        yield "roi", "", inside(region)
    for name, zone in recipe.zones.items():
        yield "zone", name, inside(zone)


def _line(canvas: NDArray[np.uint8], mask: NDArray[np.uint8], stroke: int, *, dashed: bool) -> None:
    """A light line in a dark one along the edge of what is inside."""
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    step = DASH * stroke
    for contour in contours:
        ends = range(0, len(contour), 2 * step) if dashed else ()
        pieces = [contour[start : start + step] for start in ends] or [contour]
        for colour, thickness in ((DARK, 3 * stroke), (LIGHT, stroke)):
            cv2.polylines(canvas, pieces, not dashed, colour, thickness)


def _hatch(canvas: NDArray[np.uint8], mask: NDArray[np.uint8], stroke: int) -> None:
    x, y, width, height = cv2.boundingRect(mask)
    rows, columns = np.arange(height, dtype=np.int32)[:, None], np.arange(width, dtype=np.int32)
    lines = (rows + columns) % (HATCH * stroke) < stroke
    canvas[y : y + height, x : x + width][lines & (mask[y : y + height, x : x + width] > 0)] = LIGHT

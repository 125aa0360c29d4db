"""The image with its defects drawn in."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.measuring.part_outline import with_part
from app.inspection.measuring.regions import rasterise
from app.inspection.results import Inspection, Reason
from app.inspection.rules.recipe import Recipe, Region
from app.report.captions import Box, Caption, label, write
from app.report.words import short

# BGR, distinguishable on grey metal and for most colour-blind people (Okabe and Ito, 2008); used in turn.
COLOURS = (
    (0, 94, 213),
    (233, 180, 86),
    (115, 158, 0),
    (66, 228, 240),
    (178, 114, 0),
    (167, 121, 204),
    (0, 159, 230),
)
MOST_REASONS = 2  # per caption
Kind = Literal["roi", "ignore", "zone"]
LIGHT = (240, 240, 240)
DARK = (32, 32, 32)
HATCH = 8  # distance of the lines of a hatching, in strokes
DASH = 6  # length of a dash and of a gap, in strokes


def draw(
    picture: NDArray[np.uint8],
    inspection: Inspection,
    recipe: Recipe,
    zoom: int = 1,
    check: Callable[[], None] = lambda: None,
) -> NDArray[np.uint8]:
    """Draw the recipe's regions and outline every defect; write class, score and broken limits beside it.

    `picture` is the decoded image, grey [H, W] or RGB [H, W, 3]; returns BGR [H, W, 3], each side
    `zoom` times as long. The defects that decided the verdict get their captions first; defects that the
    recipe does not inspect have no caption. `check` is called between steps, and may raise to stop.
    """
    check()
    canvas = _enlarged(in_bgr(picture), zoom, cv2.INTER_CUBIC)
    label_map = _enlarged(inspection.label_map, zoom, cv2.INTER_NEAREST)
    stroke = stroke_of(canvas)
    names = outline(canvas, with_part(recipe, inspection.part), inspection.label_map.shape, stroke, check)
    for value in range(1, len(inspection.classes) + 1):
        check()
        mask = (label_map == value).astype(np.uint8)
        contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, contours, -1, _colour(value), stroke)
    captions = [_caption(inspection, number, zoom) for number in _decisive_first(inspection)]
    write(canvas, captions, _kept_free(label_map, names), stroke)
    return canvas


def in_bgr(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A decoded image, grey [H, W] or RGB [H, W, 3], as a new array, BGR [H, W, 3]."""
    conversion = cv2.COLOR_GRAY2BGR if picture.ndim == 2 else cv2.COLOR_RGB2BGR
    return np.asarray(cv2.cvtColor(picture, conversion), dtype=np.uint8)


def stroke_of(canvas: NDArray[np.uint8]) -> int:
    """Line width in px, so that lines stay visible when the image is scaled to a screen."""
    long_side: int = max(canvas.shape[:2])
    return max(1, round(long_side / 600))


def _enlarged(pixels: NDArray[np.uint8], zoom: int, how: int) -> NDArray[np.uint8]:
    if zoom == 1:
        return pixels
    return np.asarray(cv2.resize(pixels, None, fx=zoom, fy=zoom, interpolation=how), dtype=np.uint8)


def _colour(value: int) -> tuple[int, int, int]:
    return COLOURS[(value - 1) % len(COLOURS)]


def _kept_free(label_map: NDArray[np.uint8], names: Sequence[Box]) -> NDArray[np.uint8]:
    """Not 0 on defects and on names already written."""
    if not names:
        return label_map
    kept = label_map.copy()
    for x, y, width, height in names:
        kept[y : y + height, x : x + width] = 1
    return kept


def _decisive_first(inspection: Inspection) -> Sequence[int]:
    """Indices of the defects: first those that reasons name, then those of classes they name, then others."""
    named = [each.defect for each in inspection.reasons]
    classes = [each.defect_class for each in inspection.reasons]
    last = len(inspection.reasons)

    def rank(number: int) -> tuple[int, int]:
        name = inspection.defects[number].defect_class
        return (
            named.index(number) if number in named else last,
            classes.index(name) if name in classes else last,
        )

    return sorted(range(len(inspection.defects)), key=rank)


def _caption(inspection: Inspection, number: int, zoom: int) -> Caption:
    defect = inspection.defects[number]
    beyond = [_limit(each) for each in inspection.reasons if each.defect == number]
    lines = (f"{defect.defect_class} {defect.score:.2f}", *beyond[:MOST_REASONS])
    x, y, width, height = defect.bbox
    box: Box = (x * zoom, y * zoom, width * zoom, height * zoom)
    return Caption(lines, box, _colour(inspection.classes.index(defect.defect_class) + 1))


def _limit(reason: Reason) -> str:
    return short(reason) if reason.zone is None else f"{reason.zone}: {short(reason)}"


def outline(
    canvas: NDArray[np.uint8],
    recipe: Recipe,
    shape: tuple[int, int],
    stroke: int,
    check: Callable[[], None] = lambda: None,
) -> list[Box]:
    """Draw a recipe's regions on a BGR canvas of an image of `shape`, from exactly the pixels inspected.

    Regions of interest get a line, zones a dashed one and their name, and ignored regions are hatched.
    `check` is called for each region. Returns the boxes of the names.
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
    """Draw a light line in a dark one along the edges of the mask."""
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

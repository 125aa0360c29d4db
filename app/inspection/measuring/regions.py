"""The pixels that a recipe inspects: regions of interest, ignored regions and zones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.errors import RecipeDoesNotFit
from app.inspection.measuring.polygons import BitMask, Check, Drawings, Shape, draw, full
from app.inspection.planes import zero_planes
from app.inspection.rules.geometry import PartRegion
from app.inspection.rules.recipe import PartRoi, Recipe, Region


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """The pixels of an image that a recipe inspects, in all of its rows; None means all.

    `drawings` are where polygons of the same recipe are drawn.
    """

    mask: BitMask | None
    drawings: Drawings | None = None

    def of(self, label_map: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The label map, uint8 [H, W], 0 outside the scope; the same array if all is inspected."""
        return label_map if self.mask is None else _within(self.mask, label_map, cv2.boundingRect(label_map))

    def reaches(self, rows: slice, columns: slice) -> bool:
        """Whether some pixel of a rectangle is inspected."""
        return self.mask is None or bool(self.mask.pixels(rows.start, rows.stop)[:, columns].any())


def scope_of(
    shape: Shape, recipe: Recipe, check: Check = lambda: None, drawings: Drawings | None = None
) -> Scope:
    """The scope of a recipe in an image of shape (H, W); `check` is called before each region is drawn.

    With `drawings`, polygons drawn before for an image of this size are not drawn again. If the recipe's
    `roi` is the part, pass the recipe that `part_outline.with_part` returns; else ValueError. Raises
    RecipeDoesNotFit if a region of interest contains no pixel of the image or no pixel is left, and
    whatever `check` raises.
    """
    if isinstance(recipe.roi, PartRoi):
        raise ValueError("roi: part needs the part of this image; see part_outline.with_part")
    if not recipe.roi and not recipe.ignore:
        return Scope(None, drawings)
    mask = full(shape, inside=not recipe.roi)
    for number, region in enumerate(recipe.roi):
        drawn = _drawn(region, shape, recipe, check, drawings)
        _must_hold_pixels(drawn, f"roi.{number} holds no pixel", shape, recipe)
        mask.words[drawn.rows] |= drawn.words
    for region in recipe.ignore:
        drawn = _drawn(region, shape, recipe, check, drawings)
        mask.words[drawn.rows] &= ~drawn.words
    _must_hold_pixels(mask, "roi and ignore leave no pixel to inspect", shape, recipe)
    return Scope(mask, drawings)


def by_zone(
    label_map: NDArray[np.uint8], recipe: Recipe, scope: Scope, check: Check = lambda: None
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield each zone's name and the label map inside the zone and the scope; raises RecipeDoesNotFit.

    A generator, because there may be many zones and each takes as much memory as the label map. `check`
    is called before each zone is drawn.
    """
    shape = label_map.shape[0], label_map.shape[1]
    marked = cv2.boundingRect(label_map) if recipe.zones else (0, 0, 0, 0)
    for name, zone in recipe.zones.items():
        drawn = _drawn(zone, shape, recipe, check, scope.drawings)
        if scope.mask is not None:
            drawn = BitMask(drawn.top, drawn.width, drawn.words & scope.mask.words[drawn.rows])
        _must_hold_pixels(drawn, f"zones.{name} holds no pixel that is inspected", shape, recipe)
        yield name, _within(drawn, label_map, marked)


def rasterise(corners: NDArray[np.float64], shape: Shape) -> NDArray[np.bool_]:
    """The pixels inside a polygon, bool [H, W]; see `polygons.draw`."""
    drawn = draw(corners, shape)
    pixels = np.zeros(shape, dtype=np.bool_)
    pixels[drawn.rows] = drawn.pixels(drawn.rows.start, drawn.rows.stop)
    return pixels


def _drawn(region: Region, shape: Shape, recipe: Recipe, check: Check, drawings: Drawings | None) -> BitMask:
    """Draw a region of a recipe; that of a part differs in each image, and is not kept."""
    corners = region.corners_px(recipe.part_frame, recipe.pixel_pitch_mm)
    if drawings is None or isinstance(region, PartRegion):
        return draw(corners, shape, check)
    return drawings.draw(corners, shape, check)


def _within(mask: BitMask, label_map: NDArray[np.uint8], marked: Sequence[int]) -> NDArray[np.uint8]:
    """The label map, uint8 [H, W], 0 outside a mask; `marked` is its bounding (x, y, width, height)."""
    x, y, width, height = marked
    inside = zero_planes(*label_map.shape)
    top, bottom = max(y, mask.rows.start), min(y + height, mask.rows.stop)
    if top < bottom:
        place = slice(top, bottom), slice(x, x + width)
        inside[place] = label_map[place] * mask.pixels(top, bottom)[:, place[1]]
    return inside


def _must_hold_pixels(mask: BitMask, problem: str, shape: Shape, recipe: Recipe) -> None:
    """Raise RecipeDoesNotFit for an empty region: rules that check nothing would pass every image."""
    if not mask.any():
        raise RecipeDoesNotFit(
            f"recipe {recipe.name}: {problem} of this image of {shape[1]} x {shape[0]} px; "
            "send the image it was drawn for, or correct its polygons"
        )

"""The pixels that a recipe inspects: regions of interest, ignored regions and zones."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.errors import RecipeDoesNotFit
from app.inspection.planes import zero_planes
from app.inspection.rules.recipe import PartRoi, Recipe, Region

Shape = tuple[int, int]
Check = Callable[[], None]


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """The pixels of an image that a recipe inspects, bool [H, W]; None means all."""

    pixels: NDArray[np.bool_] | None

    def of(self, label_map: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The label map, uint8 [H, W], 0 outside the scope; the same array if all is inspected."""
        if self.pixels is None:
            return label_map
        x, y, width, height = cv2.boundingRect(label_map)
        marked = slice(y, y + height), slice(x, x + width)
        judged = zero_planes(*label_map.shape)
        judged[marked] = label_map[marked] * self.pixels[marked]
        return judged


@dataclass(frozen=True, slots=True, eq=False)
class _Patch:
    """A rasterised polygon: `inside`, bool, for its bounding `rows` and `columns`."""

    rows: slice
    columns: slice
    inside: NDArray[np.bool_]


def scope_of(shape: Shape, recipe: Recipe, check: Check = lambda: None) -> Scope:
    """The scope of a recipe in an image of shape (H, W); `check` is called before each region is drawn.

    If the recipe's `roi` is the part, pass the recipe that `part_outline.with_part` returns; else
    ValueError. Raises RecipeDoesNotFit if a region of interest contains no pixel of the image or no
    pixel is left, and whatever `check` raises.
    """
    if isinstance(recipe.roi, PartRoi):
        raise ValueError("roi: part needs the part of this image; see part_outline.with_part")
    if not recipe.roi and not recipe.ignore:
        return Scope(None)
    pixels = np.full(shape, not recipe.roi, dtype=np.bool_)
    for number, region in enumerate(recipe.roi):
        check()
        drawn = _drawn(region, shape, recipe)
        _must_hold_pixels(drawn.inside, f"roi.{number} holds no pixel", shape, recipe)
        pixels[drawn.rows, drawn.columns] |= drawn.inside
    for region in recipe.ignore:
        check()
        drawn = _drawn(region, shape, recipe)
        pixels[drawn.rows, drawn.columns] &= ~drawn.inside
    _must_hold_pixels(pixels, "roi and ignore leave no pixel to judge", shape, recipe)
    return Scope(pixels)


def by_zone(
    label_map: NDArray[np.uint8], recipe: Recipe, scope: Scope, check: Check = lambda: None
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield each zone's name and the label map inside the zone and the scope; raises RecipeDoesNotFit.

    A generator, because there may be many zones and each takes as much memory as the label map. `check`
    is called before each zone is drawn.
    """
    shape = label_map.shape[0], label_map.shape[1]
    for name, zone in recipe.zones.items():
        check()
        drawn = _drawn(zone, shape, recipe)
        place = drawn.rows, drawn.columns
        inside = drawn.inside if scope.pixels is None else drawn.inside & scope.pixels[place]
        _must_hold_pixels(inside, f"zones.{name} holds no pixel that is judged", shape, recipe)
        part = zero_planes(*shape)
        part[place] = label_map[place] * inside
        yield name, part


def rasterise(corners: NDArray[np.float64], shape: Shape) -> NDArray[np.bool_]:
    """The pixels, bool [H, W], whose centres lie inside a polygon of corners [N, 2] (x, y in px).

    Inside follows the even-odd rule. A centre on a side belongs to the polygon to its right or below it,
    so polygons with a common side share no pixel and leave none out.
    """
    patch = _patch(corners, shape)
    pixels = np.zeros(shape, dtype=np.bool_)
    pixels[patch.rows, patch.columns] = patch.inside
    return pixels


def _patch(corners: NDArray[np.float64], shape: Shape) -> _Patch:
    """As `rasterise`, but only for the bounding rows and columns of the polygon."""
    height, width = shape
    crossings = []
    for (x, y), (to_x, to_y) in pairwise([*corners, corners[0]]):
        top, bottom = sorted((y, to_y))
        rows = np.arange(_clipped(top, height), _clipped(bottom, height))
        if len(rows):
            at = x + (rows - y) * (to_x - x) / (to_y - y)  # multiply first: the side may be nearly level
            crossings.append((rows, np.clip(np.ceil(at), 0, width).astype(np.intp)))
    if not crossings:
        return _Patch(slice(0), slice(0), np.zeros((0, 0), dtype=np.bool_))
    top, bottom = (end(rows[place] for rows, _ in crossings) for end, place in ((min, 0), (max, -1)))
    left, right = min(at.min() for _, at in crossings), max(at.max() for _, at in crossings)
    crossed = np.zeros((bottom + 1 - top, right + 1 - left), dtype=np.bool_)
    for rows, at in crossings:  # a side crosses a row once
        crossed[rows - top, at - left] ^= True
    inside = np.logical_xor.accumulate(crossed, axis=1, out=crossed)
    # nothing is inside beyond the last crossing
    return _Patch(slice(top, bottom + 1), slice(left, right), inside[:, :-1])


def _clipped(y: float, height: int) -> int:
    """The first row at or below y, clipped to the image."""
    return min(max(math.ceil(y), 0), height)


def _drawn(region: Region, shape: Shape, recipe: Recipe) -> _Patch:
    return _patch(region.corners_px(recipe.part_frame, recipe.pixel_pitch_mm), shape)


def _must_hold_pixels(inside: NDArray[np.bool_], problem: str, shape: Shape, recipe: Recipe) -> None:
    """Raise RecipeDoesNotFit for an empty region: rules that check nothing would pass every image."""
    if not inside.any():
        raise RecipeDoesNotFit(
            f"recipe {recipe.name}: {problem} of this image of {shape[1]} x {shape[0]} px; "
            "send the image it was drawn for, or correct its polygons"
        )

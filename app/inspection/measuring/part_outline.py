"""Find the part in an image: its outline against a darker or brighter background, without a network.

The outline is convex. So a notch in the part's edge, or a dark area inside the part, lies within the
outline and is inspected.
"""

from itertools import pairwise
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.errors import RecipeDoesNotFit
from app.inspection.results import Part, Polygon, Reason
from app.inspection.rules.geometry import PartRegion, PartRoi, PartRule
from app.inspection.rules.recipe import Recipe

WORKING_SIDE = 1024  # px; longer side of the reduced copy that is searched
SMOOTHING = 5  # px of the median filter: wider than dust and scratches
LEAST_BRIGHT = 16  # grey levels; if nothing is brighter, the light is off
MOST_ALIKE = 0.5  # darker / brighter level; above it, the border shows no background
# Relative threshold between background (0) and part (1); low, so that no area of the part is lost.
LEVEL = 0.2
MOVED = (0.15, 0.4)  # relative thresholds between which a clear outline hardly moves
MOST_MOVE = 1 / 3  # of the image; largest change of area between them
LEAST_PIECE = 0.01  # of the image; a dark line may cut the part into several pieces
DIGITS = 2  # of coordinates in px, as in the answer, so that the verdict can be reproduced

Background = Literal["dark", "bright"]


def locate(image: NDArray[np.uint8], recipe: Recipe) -> Part | None:
    """Find the part in an image uint8 [H, W] or [H, W, 3]; None if the recipe's `roi` is not the part.

    Raises RecipeDoesNotFit if the recipe's margin leaves nothing of the part.
    """
    if not isinstance(recipe.roi, PartRoi):
        return None
    outline, share = find_outline(image, recipe.roi.part.background)
    return part_of(outline, share, recipe, (image.shape[0], image.shape[1]))


def part_of(outline: Polygon | None, share: float, recipe: Recipe, shape: tuple[int, int]) -> Part | None:
    """As `locate`, from an outline found earlier in an image of `shape` (H, W), such as a recorded one.

    The outline must have been found with the same background, dark or bright, as the recipe's.
    """
    if not isinstance(recipe.roi, PartRoi):
        return None
    rule = recipe.roi.part
    if outline is None or _misses(share, rule) is not None:
        return Part(False, share, None, None)
    judged = inset(outline, shape, rule.margin(recipe.pixel_pitch_mm))
    if judged is None:
        raise RecipeDoesNotFit(f"recipe {recipe.name}: roi.part: the margin leaves nothing of the part")
    return Part(True, share, outline, judged)


def with_part(recipe: Recipe, part: Part | None) -> Recipe:
    """The recipe for one image: `roi: part` replaced by the polygon to inspect.

    If the part was not found, the whole image is inspected and `part_doubts` causes a review.
    Raises ValueError for a recipe that needs a part and is given None.
    """
    if not isinstance(recipe.roi, PartRoi):
        return recipe
    if part is None:
        raise ValueError(f"recipe {recipe.name}: roi: part needs the part that was found in the image")
    regions = [] if part.judged is None else [PartRegion(polygon_px=part.judged)]
    return recipe.model_copy(update={"roi": regions})


def part_doubts(part: Part | None, recipe: Recipe) -> tuple[Reason, ...]:
    """The reason to review an image whose part was not found."""
    if part is None or part.found or not isinstance(recipe.roi, PartRoi):
        return ()
    limit = _misses(part.share, recipe.roi.part)
    return (Reason("part_not_found", None, part.share, limit or 0.0, "share"),)


def _misses(share: float, rule: PartRule) -> float | None:
    """The limit that the part's share of the image exceeds; None if within."""
    if share < rule.min_share:
        return rule.min_share
    return rule.max_share if share > rule.max_share else None


def find_outline(image: NDArray[np.uint8], background: Background = "dark") -> tuple[Polygon | None, float]:
    """Find the part's convex outline and the share of the image inside it; None and 0 if there is none.

    The background touches the image border. An image without background is all part. Works on a copy of
    at most WORKING_SIDE px, so that time and memory are bounded.
    """
    grey = _working_copy(image)
    behind, part = _levels(grey, background)
    darker, brighter = (behind, part) if background == "dark" else (part, behind)
    if max(behind, part) < LEAST_BRIGHT:
        return None, 0.0
    height, width = grey.shape
    corners: NDArray[np.int32] | None = np.array(
        [[0, 0], [width, 0], [width, height], [0, height]], dtype=np.int32
    )
    if darker <= MOST_ALIKE * brighter:
        levels = [behind + each * (part - behind) for each in (LEVEL, *MOVED)]
        corners, wide, narrow = (_hull(grey, each, background) for each in levels)
        if _area(wide) - _area(narrow) > MOST_MOVE * grey.size:
            return None, 0.0
    if corners is None:
        return None, 0.0
    return _in_image(corners, grey.shape, image.shape), round(_area(corners) / grey.size, 4)


def inset(outline: Polygon, shape: tuple[int, int], margin: float) -> Polygon | None:
    """Shrink a convex outline by `margin` px; None if nothing is left.

    A side on the border of the image, of `shape` (H, W), is not moved: the part continues there.
    """
    if margin == 0:
        return outline
    kept = corners = np.array(outline)
    centre = corners.mean(axis=0)
    for start, end in pairwise([*corners, corners[0]]):
        if _on_border(start, end, shape):
            continue
        along = (end - start) / np.hypot(*(end - start))
        normal = np.array([-along[1], along[0]])
        if (centre - start) @ normal < 0:
            normal = -normal
        kept = _clipped(kept, (kept - start) @ normal - margin)
        if len(kept) < 3:
            return None
    return _polygon(kept)


def _working_copy(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A grey, reduced and median-filtered copy, uint8 [h, w]."""
    height, width = image.shape[:2]
    scale = min(1.0, WORKING_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    grey = small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.medianBlur(grey, SMOOTHING), np.uint8)


def _levels(grey: NDArray[np.uint8], background: Background) -> tuple[float, float]:
    """Grey levels of background and part: a percentile of the image border and one of all pixels."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    of_border, of_all = (2, 75) if background == "dark" else (98, 25)
    return float(np.percentile(border, of_border)), float(np.percentile(grey, of_all))


def _hull(grey: NDArray[np.uint8], level: float, background: Background) -> NDArray[np.int32] | None:
    """Convex hull, [N, 2] on pixel edges, of all larger components on the part's side of a level."""
    part = (grey > level if background == "dark" else grey < level).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] >= LEAST_PIECE * grey.size
    large[0] = False  # label 0: the background
    kept = large[labels]
    rows = np.flatnonzero(kept.any(axis=1))
    if not len(rows):
        return None
    first = kept[rows].argmax(axis=1)  # a hull needs only the first and last pixel of a row
    last = kept.shape[1] - kept[rows, ::-1].argmax(axis=1)
    edges = [np.stack([columns, rows + y], axis=1) for columns in (first, last) for y in (0, 1)]
    return np.asarray(cv2.convexHull(np.concatenate(edges).astype(np.int32)), np.int32).reshape(-1, 2)


def _area(corners: NDArray[np.int32] | None) -> float:
    return 0.0 if corners is None else float(cv2.contourArea(corners))


def _in_image(corners: NDArray[np.int32], small: tuple[int, ...], shape: tuple[int, ...]) -> Polygon:
    """From pixel edges in the working copy to image coordinates; (0, 0) is the first pixel's centre."""
    scale = np.array([shape[1] / small[1], shape[0] / small[0]])
    return _polygon(corners * scale - 0.5)


def _polygon(corners: NDArray[np.float64]) -> Polygon:
    return tuple((float(x), float(y)) for x, y in corners.round(DIGITS))


def _on_border(start: NDArray[np.float64], end: NDArray[np.float64], shape: tuple[int, int]) -> bool:
    """Whether a side lies on the image's border."""
    far = np.array([shape[1], shape[0]]) - 0.5
    return bool(((start == end) & ((start == -0.5) | (start == far))).any())


def _clipped(corners: NDArray[np.float64], depth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Clip a convex polygon by a line: corners with negative `depth` are cut off."""
    kept = []
    for number, (corner, at) in enumerate(zip(corners, depth, strict=True)):
        before, there = corners[number - 1], depth[number - 1]
        if (at < 0) != (there < 0):
            kept.append(before + (corner - before) * (there / (there - at)))
        if at >= 0:
            kept.append(corner)
    return np.array(kept).reshape(-1, 2)

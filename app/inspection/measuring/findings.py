"""The defects of a label map in a recipe's scope and in each of its zones."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from app.inspection.measuring.defect_regions import Regions
from app.inspection.measuring.measure import measure
from app.inspection.measuring.regions import Scope, by_zone, scope_of
from app.inspection.measuring.runs import Runs, find_runs
from app.inspection.results import Defect, Findings, TileProbability, ZoneDefects
from app.inspection.rules.recipe import Recipe

Box = tuple[int, int, int, int]  # x, y, width, height


def find(
    label_map: NDArray[np.uint8],
    regions: Regions | None,
    classes: tuple[str, ...],
    recipe: Recipe,
    check: Callable[[], None] = lambda: None,
    scope: Scope | None = None,
) -> Findings:
    """Measure the defects of a label map uint8 [H, W] that a recipe inspects, in px and mm.

    `regions` give scores, probabilities and runners-up only: without them the verdict is the same.
    `scope` is the recipe's scope, if already computed. `check` is called regularly. Raises
    RecipeDoesNotFit if the recipe's regions contain no pixel of an image of this size, and whatever
    `check` raises.
    """
    pitch = recipe.pixel_pitch_mm
    scope = scope or scope_of((label_map.shape[0], label_map.shape[1]), recipe, check)
    judged = scope.of(label_map)
    defects = measure(judged, regions, classes, pitch, check)
    zones = []
    for name, inside in by_zone(judged, recipe, scope, check):
        pieces = measure(inside, regions, classes, pitch, check)
        zones.append(ZoneDefects(name, pieces, _parents(pieces, inside, defects, judged, classes, check)))
    return Findings(defects, tuple(zones))


def unexplained(label_map: NDArray[np.uint8], tiles: Iterable[TileProbability], scope: Scope) -> float | None:
    """The highest image-level probability of the inspected tiles without a defect.

    `label_map`, uint8 [H, W], is that of the whole image. None if every inspected tile has a defect.
    """
    left = (
        each.probability
        for each in tiles
        if not label_map[each.rows, each.columns].any() and scope.reaches(each.rows, each.columns)
    )
    return max(left, default=None)


def _parents(
    pieces: tuple[Defect, ...],
    inside: NDArray[np.uint8],
    defects: tuple[Defect, ...],
    judged: NDArray[np.uint8],
    classes: tuple[str, ...],
    check: Callable[[], None],
) -> tuple[int, ...]:
    """The index of the whole defect that each piece in a zone belongs to.

    Defects are found by class and box. Two regions of a class cannot share a box: both would touch all
    four sides and so intersect.
    """
    numbers = {(each.defect_class, each.bbox): number for number, each in enumerate(defects)}
    found: dict[tuple[str, Box], int] = {}
    for name in {each.defect_class for each in pieces}:
        value = classes.index(name) + 1
        wholes, parts = find_runs(judged, value, check), find_runs(inside, value, check)
        of, boxes = _holding(wholes, parts), _boxes(wholes)
        found |= {
            (name, box): numbers[name, boxes[whole]]
            for box, whole in zip(_boxes(parts), of.tolist(), strict=True)
        }
    return tuple(found[each.defect_class, each.bbox] for each in pieces)


def _holding(wholes: Runs, parts: Runs) -> NDArray[np.int64]:
    """For each region of `parts`, the region of `wholes` that contains its first run."""
    pitch = int(wholes.last.max()) + 1
    key = wholes.row * pitch + wholes.first
    order = np.argsort(key)
    sought = (parts.row * pitch + parts.first)[parts.start]
    return wholes.region[order[np.searchsorted(key[order], sought, side="right") - 1]]


def _boxes(runs: Runs) -> list[Box]:
    """The bounding box of each region, in order."""
    return [(x, y, right - x + 1, bottom - y + 1) for x, y, right, bottom in runs.boxes().tolist()]

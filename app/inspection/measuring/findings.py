"""What a recipe judges of a label map: the defects in its scope, and those of each zone."""

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
    """Measure what the recipe judges of a label map uint8 [H, W], in px and by its pixel pitch.

    `regions` give scores, probabilities and runners-up only: without them the verdict is the same.
    `scope` is the recipe's, for who has it already. `check` is called now and then. Raises RecipeDoesNotFit
    where the recipe's regions hold nothing of an image of this size, and what `check` raises.
    """
    pitch = recipe.pixel_pitch_mm
    scope = scope or scope_of((label_map.shape[0], label_map.shape[1]), recipe, check)
    judged = scope.of(label_map)
    defects = measure(judged, regions, classes, pitch, check)
    zones = []
    for name, inside in by_zone(judged, recipe, scope, check):
        pieces = measure(inside, regions, classes, pitch, check)
        zones.append(ZoneDefects(name, pieces, _parents(pieces, inside, defects, judged, classes)))
    return Findings(defects, tuple(zones))


def unexplained(label_map: NDArray[np.uint8], tiles: Iterable[TileProbability], scope: Scope) -> float | None:
    """The highest image-level probability of the tiles that are judged and in which no defect lies.

    `label_map`, uint8 [H, W], is that of the whole image. None where every such tile shows a defect.
    """
    left = (
        each.probability
        for each in tiles
        if not label_map[each.rows, each.columns].any()
        and (scope.pixels is None or scope.pixels[each.rows, each.columns].any())
    )
    return max(left, default=None)


def _parents(
    pieces: tuple[Defect, ...],
    inside: NDArray[np.uint8],
    defects: tuple[Defect, ...],
    judged: NDArray[np.uint8],
    classes: tuple[str, ...],
) -> tuple[int, ...]:
    """Which of the defects each piece of one in a zone belongs to.

    No two regions of a class have one box: both would reach all four of its sides, and so cross.
    """
    numbers = {(each.defect_class, each.bbox): number for number, each in enumerate(defects)}
    found: dict[tuple[str, Box], int] = {}
    for name in {each.defect_class for each in pieces}:
        value = classes.index(name) + 1
        wholes, parts = find_runs(judged, value), find_runs(inside, value)
        of, boxes = _holding(wholes, parts), _boxes(wholes)
        found |= {
            (name, box): numbers[name, boxes[whole]]
            for box, whole in zip(_boxes(parts), of.tolist(), strict=True)
        }
    return tuple(found[each.defect_class, each.bbox] for each in pieces)


def _holding(wholes: Runs, parts: Runs) -> NDArray[np.int64]:
    """The region of `wholes` that each region of `parts` is a piece of: the one its first run lies in."""
    pitch = int(wholes.last.max()) + 1
    key = wholes.row * pitch + wholes.first
    order = np.argsort(key)
    sought = (parts.row * pitch + parts.first)[parts.start]
    return wholes.region[order[np.searchsorted(key[order], sought, side="right") - 1]]


def _boxes(runs: Runs) -> list[Box]:
    """The box of each region, in its order."""
    return [(x, y, right - x + 1, bottom - y + 1) for x, y, right, bottom in runs.boxes().tolist()]

"""Blend tile probability maps into image areas, one area at a time, without storing all tiles.

Overlaps are blended with weights that fall towards the tile's edge, where the model sees the least
context.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.inspection.inference.tiling import TilePlan, resized
from app.inspection.planes import zero_planes

Levels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The blended levels of class k, uint8 [h, w], for some rows and columns of the image."""

    k: int
    place: tuple[slice, slice]
    levels: Levels


class Blend:
    """Blends the probability maps of one image's tiles; stores two or three lines of tiles at a time.

    Exact where tiles agree: a model without spatial context gives the same result as without tiles.
    """

    def __init__(self, plan: TilePlan, classes: int) -> None:
        self._plan = plan
        self._classes = classes
        self._weights_y = _weights(plan.rows, plan.tile_height, plan.scaled_height, plan.overlap)
        self._weights_x = _weights(plan.columns, plan.tile_width, plan.scaled_width, plan.overlap)
        self._places = _places(plan)
        self._last = [line[-1] for line in plan.lines]
        self._done = 0
        self._maps: dict[int, list[Levels | None]] = {}
        same_size = (plan.scaled_height, plan.scaled_width) == (plan.height, plan.width)
        scaled = (classes, plan.scaled_height, plan.scaled_width)
        self._scaled = None if same_size else zero_planes(*scaled)

    def add(self, numbers: Sequence[int], maps: Levels) -> Iterator[Part]:
        """Add the maps of some tiles, uint8 [N, K, tile_height, tile_width]; yield the areas now final.

        Add tiles in the order of the plan's lines. For each place, parts come in class order. Pixels
        that no part covers are 0.
        """
        for number, each in zip(numbers, maps, strict=True):
            self._maps[number] = [levels.copy() if levels.max() else None for levels in each]
        while self._done < len(self._last) and self._last[self._done] in self._maps:
            place = self._places[self._done]
            for k in range(self._classes):
                if any(each[k] is not None for each in self._maps.values()):
                    yield from self._given(Part(k, place, self._blended(k, place)))
            self._forget(place)
            self._done += 1
        if self._scaled is not None and self._done == len(self._last):
            yield from self._unscaled(self._scaled)

    def _given(self, part: Part) -> Iterator[Part]:
        if self._scaled is None:
            yield part
        else:
            self._scaled[part.k][part.place] = part.levels

    def _unscaled(self, scaled: Levels) -> Iterator[Part]:
        plan = self._plan
        for k, plane in enumerate(scaled):
            if plane.max():
                levels = resized(plane, plan.height, plan.width)
                yield Part(k, (slice(0, plan.height), slice(0, plan.width)), levels)

    def _blended(self, k: int, place: tuple[slice, slice]) -> Levels:
        rows, columns = place
        if len(self._weights_y) == len(self._weights_x) == 1 and (only := self._maps[0][k]) is not None:
            return only[rows, columns]  # a single tile: nothing to blend
        total = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)
        for number in sorted(self._maps):  # in fixed order: the rounding of a float sum depends on it
            levels = self._maps[number][k]
            if levels is None:
                continue
            row, column = divmod(number, len(self._plan.columns))
            weight_y, weight_x = self._weights_y[row], self._weights_x[column]
            of_tile_y, of_part_y = _shared(self._plan.rows[row], len(weight_y), rows)
            of_tile_x, of_part_x = _shared(self._plan.columns[column], len(weight_x), columns)
            inside = levels[of_tile_y, of_tile_x] * weight_y[of_tile_y, None] * weight_x[of_tile_x]
            total[of_part_y, of_part_x] += inside
        return np.rint(total, out=total).astype(np.uint8)

    def _forget(self, place: tuple[slice, slice]) -> None:
        """Drop the tiles that no later part overlaps."""
        plan, (rows, columns) = self._plan, place
        for number in list(self._maps):
            row, column = divmod(number, len(plan.columns))
            if plan.tall:
                over = plan.rows[row] + plan.tile_height <= rows.stop
            else:
                over = plan.columns[column] + plan.tile_width <= columns.stop
            if over:
                del self._maps[number]


def _places(plan: TilePlan) -> list[tuple[slice, slice]]:
    """The area of the scaled image, rows and columns, that becomes final after each line of tiles."""
    starts, end = (plan.rows, plan.scaled_height) if plan.tall else (plan.columns, plan.scaled_width)
    along = [slice(start, stop) for start, stop in zip(starts, (*starts[1:], end), strict=True)]
    rows, columns = slice(0, plan.scaled_height), slice(0, plan.scaled_width)
    return [(each, columns) if plan.tall else (rows, each) for each in along]


def _shared(start: int, length: int, part: slice) -> tuple[slice, slice]:
    """The overlap of a tile and a part along one side, relative to the tile and to the part."""
    first = max(start, part.start)
    last = max(first, min(start + length, part.stop))
    return slice(first - start, last - start), slice(first - part.start, last - part.start)


def _weights(starts: tuple[int, ...], tile: int, side: int, overlap: int) -> list[NDArray[np.float32]]:
    """Each tile's weights along one side: linear ramps in the overlap, normalised to sum to 1."""
    length = min(tile, side)
    place = np.arange(length)
    ramp = np.minimum(np.minimum(place + 1, length - place) / (overlap + 1), 1.0)
    total = np.zeros(side)
    for start in starts:
        total[start : start + length] += ramp
    return [(ramp / total[start : start + length]).astype(np.float32) for start in starts]

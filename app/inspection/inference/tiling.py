"""From an image of any size to the tiles the graph takes.

An image is never squashed: large ones are cut into overlapping tiles at the trained pixel scale, small ones
are padded by reflection.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.bundle.bundle import InputContract
from app.inspection.errors import ImageTooLarge

MAX_TILES = 2048  # the work of one image: a long strip has far more tiles than its pixels suggest


@dataclass(frozen=True, slots=True)
class TilePlan:
    """Where the tiles of an image of `height` x `width` lie, in pixels of the scaled image.

    `rows` and `columns` are the tiles' upper and left edges; tiles are numbered row by row.
    """

    height: int
    width: int
    scaled_height: int
    scaled_width: int
    tile_height: int
    tile_width: int
    overlap: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    @property
    def places(self) -> list[tuple[int, int]]:
        """Upper left corner (y, x) of every tile, in the tiles' order."""
        return [(y, x) for y in self.rows for x in self.columns]

    @property
    def tall(self) -> bool:
        """Whether lines of tiles run along the rows: they do along the shorter side."""
        return self.scaled_width <= self.scaled_height

    @property
    def lines(self) -> list[list[int]]:
        """The numbers of the tiles, line by line, in the order in which the image is worked through."""
        numbers = np.arange(len(self.rows) * len(self.columns)).reshape(len(self.rows), -1)
        lines: list[list[int]] = (numbers if self.tall else numbers.T).tolist()
        return lines

    def covered(self) -> list[tuple[slice, slice]]:
        """Rows and columns of the image, not scaled, that every tile covers at least in part."""
        rows = [_unscaled(y, self.tile_height, self.height / self.scaled_height) for y in self.rows]
        columns = [_unscaled(x, self.tile_width, self.width / self.scaled_width) for x in self.columns]
        return [(each, other) for each in rows for other in columns]


def plan_tiles(height: int, width: int, contract: InputContract) -> TilePlan:
    """Lay tiles over an image so that every pixel is covered and neighbours overlap as the contract says.

    Raises ImageTooLarge where that takes more than MAX_TILES.
    """
    scaled_height = max(1, round(height * contract.pixel_scale))
    scaled_width = max(1, round(width * contract.pixel_scale))
    count = _count(scaled_height, contract.tile_height, contract.overlap)
    count *= _count(scaled_width, contract.tile_width, contract.overlap)
    if count > MAX_TILES:
        raise ImageTooLarge(
            f"the image is {width} x {height} pixels, which takes {count} of the model's tiles; "
            f"at most {MAX_TILES} are accepted: send it in parts"
        )
    return TilePlan(
        height=height,
        width=width,
        scaled_height=scaled_height,
        scaled_width=scaled_width,
        tile_height=contract.tile_height,
        tile_width=contract.tile_width,
        overlap=contract.overlap,
        rows=_starts(scaled_height, contract.tile_height, contract.overlap),
        columns=_starts(scaled_width, contract.tile_width, contract.overlap),
    )


class Tiles:
    """An image, uint8 [H, W] or [H, W, 3], ready to be cut; `plan` says where its tiles lie.

    Where neither colour nor scale nor padding has to change, it holds no copy of the image.
    """

    def __init__(self, image: NDArray[np.uint8], contract: InputContract) -> None:
        """Raises ImageTooLarge where the image has more than MAX_TILES."""
        plan = self.plan = plan_tiles(image.shape[0], image.shape[1], contract)
        pixels = resized(_in_colour(image, contract), plan.scaled_height, plan.scaled_width)
        below = max(0, plan.tile_height - plan.scaled_height)
        right = max(0, plan.tile_width - plan.scaled_width)
        if below or right:  # numpy repeats the reflection where the image is smaller than the padding
            pixels = np.pad(pixels, ((0, below), (0, right), (0, 0))[: pixels.ndim], mode="reflect")
        self._pixels = pixels.reshape(*pixels.shape[:2], contract.channels)

    def cut(self, numbers: Sequence[int]) -> NDArray[np.uint8]:
        """The tiles of these numbers, uint8 [N, tile_height, tile_width, C]."""
        plan = self.plan
        shape = (len(numbers), plan.tile_height, plan.tile_width, self._pixels.shape[2])
        tiles = np.empty(shape, dtype=np.uint8)
        for tile, number in zip(tiles, numbers, strict=True):
            y, x = plan.rows[number // len(plan.columns)], plan.columns[number % len(plan.columns)]
            tile[...] = self._pixels[y : y + plan.tile_height, x : x + plan.tile_width]
        return tiles


def cut(image: NDArray[np.uint8], contract: InputContract) -> tuple[NDArray[np.uint8], TilePlan]:
    """Cut uint8 [H, W] or [H, W, 3] into all its tiles, uint8 [N, tile_height, tile_width, C], row by row."""
    tiles = Tiles(image, contract)
    return tiles.cut(range(len(tiles.plan.places))), tiles.plan


def _unscaled(start: int, length: int, factor: float) -> slice:
    return slice(math.floor(start * factor), math.ceil((start + length) * factor))


def _starts(side: int, tile: int, overlap: int) -> tuple[int, ...]:
    """Where tiles start along one side; the last one is moved back to end with the image."""
    if side <= tile:
        return (0,)
    return (*range(0, side - tile, tile - overlap), side - tile)


def _count(side: int, tile: int, overlap: int) -> int:
    """How many tiles `_starts` would lay, without laying them."""
    return 1 if side <= tile else 1 + len(range(0, side - tile, tile - overlap))


def _in_colour(image: NDArray[np.uint8], contract: InputContract) -> NDArray[np.uint8]:
    """The image in the contract's colour; grey by Rec. 601 luma."""
    if contract.colour == "gray" and image.ndim == 3:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    if contract.colour == "rgb" and image.ndim == 2:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
    return image


def resized(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Pixels at another size, uint8; themselves at their own."""
    if pixels.shape[:2] == (height, width):
        return pixels
    # averaging when shrinking, so that a thin crack is dimmed and not skipped
    shrinks = height < pixels.shape[0] or width < pixels.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how), dtype=np.uint8)

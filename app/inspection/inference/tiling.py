"""Cut an image of any size into tiles of the graph's input size.

Images are not resized to fit: large images are cut into overlapping tiles at the pixel scale used in
training, small images are padded by reflection.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.bundle.bundle import InputContract
from app.inspection.errors import ImageTooLarge

MAX_TILES = 2048  # bounds the work for one image: a long strip has many tiles for few pixels


@dataclass(frozen=True, slots=True)
class TilePlan:
    """The positions of the tiles of an image of `height` x `width`, in pixels of the scaled image.

    `rows` and `columns` are the upper and left edges of the tiles; tiles are numbered row by row.
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
        """Upper left corner (y, x) of every tile, in order."""
        return [(y, x) for y in self.rows for x in self.columns]

    @property
    def tall(self) -> bool:
        """Whether a line of tiles is a row: lines run along the shorter side of the image."""
        return self.scaled_width <= self.scaled_height

    @property
    def lines(self) -> list[list[int]]:
        """The tile numbers, line by line, in processing order."""
        numbers = np.arange(len(self.rows) * len(self.columns)).reshape(len(self.rows), -1)
        lines: list[list[int]] = (numbers if self.tall else numbers.T).tolist()
        return lines

    def covered(self) -> list[tuple[slice, slice]]:
        """Rows and columns of the unscaled image that each tile covers at least partly."""
        rows = [_unscaled(y, self.tile_height, self.height / self.scaled_height) for y in self.rows]
        columns = [_unscaled(x, self.tile_width, self.width / self.scaled_width) for x in self.columns]
        return [(each, other) for each in rows for other in columns]


def plan_tiles(height: int, width: int, contract: InputContract) -> TilePlan:
    """Place tiles so that every pixel is covered and neighbours overlap as the contract says.

    Raises ImageTooLarge if that takes more than MAX_TILES.
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
    """An image, uint8 [H, W] or [H, W, 3], prepared for tiling; `plan` has the positions of its tiles.

    The image is copied only if colour or scale changes or padding is needed.
    """

    def __init__(self, image: NDArray[np.uint8], contract: InputContract) -> None:
        """Convert, scale and pad the image; raises ImageTooLarge for more than MAX_TILES tiles."""
        plan = self.plan = plan_tiles(image.shape[0], image.shape[1], contract)
        pixels = resized(_in_colour(image, contract), plan.scaled_height, plan.scaled_width)
        below = max(0, plan.tile_height - plan.scaled_height)
        right = max(0, plan.tile_width - plan.scaled_width)
        if below or right:  # numpy repeats the reflection if the padding exceeds the image
            pixels = np.pad(pixels, ((0, below), (0, right), (0, 0))[: pixels.ndim], mode="reflect")
        self._pixels = pixels.reshape(*pixels.shape[:2], contract.channels)

    def cut(self, numbers: Sequence[int]) -> NDArray[np.uint8]:
        """The tiles with these numbers, uint8 [N, tile_height, tile_width, C]."""
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
    """Start positions of tiles along one side; the last tile is moved back to end at the image edge."""
    if side <= tile:
        return (0,)
    return (*range(0, side - tile, tile - overlap), side - tile)


def _count(side: int, tile: int, overlap: int) -> int:
    """The number of positions that `_starts` would return, without the list."""
    return 1 if side <= tile else 1 + len(range(0, side - tile, tile - overlap))


def _in_colour(image: NDArray[np.uint8], contract: InputContract) -> NDArray[np.uint8]:
    """The image as grey or RGB, as the contract says; grey is Rec. 601 luma."""
    if contract.colour == "gray" and image.ndim == 3:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    if contract.colour == "rgb" and image.ndim == 2:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
    return image


def resized(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize uint8 pixels; the same array if the size does not change."""
    if pixels.shape[:2] == (height, width):
        return pixels
    # area averaging when shrinking: a thin crack loses contrast but is not skipped
    shrinks = height < pixels.shape[0] or width < pixels.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how), dtype=np.uint8)

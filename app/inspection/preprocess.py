"""From a picture of any size to the tiles the graph takes, and from the tiles' answers back to the picture.

A picture is never squashed: large ones are cut into overlapping tiles at the trained pixel scale, small ones
are padded by reflection. On the way back overlaps are blended: a tile knows least about its own edge.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.bundle import InputContract
from app.inspection.errors import ImageTooLarge

MAX_TILES = 2048  # the work of one picture: a long strip has far more tiles than its pixels suggest


@dataclass(frozen=True, slots=True)
class TilePlan:
    """Where the tiles of a picture of `height` x `width` lie, in pixels of the scaled picture.

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


def plan_tiles(height: int, width: int, contract: InputContract) -> TilePlan:
    """Lay tiles over a picture so that every pixel is covered and neighbours overlap as the contract says.

    Raises ImageTooLarge where that takes more than MAX_TILES.
    """
    scaled_height = max(1, round(height * contract.pixel_scale))
    scaled_width = max(1, round(width * contract.pixel_scale))
    count = _count(scaled_height, contract.tile_height, contract.overlap)
    count *= _count(scaled_width, contract.tile_width, contract.overlap)
    if count > MAX_TILES:
        raise ImageTooLarge(
            f"the picture is {width} x {height} pixels, which takes {count} of the model's tiles; "
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


def cut(image: NDArray[np.uint8], contract: InputContract) -> tuple[NDArray[np.uint8], TilePlan]:
    """Cut uint8 [H, W] or [H, W, 3] into tiles uint8 [N, tile_height, tile_width, C]; say where they lie."""
    plan = plan_tiles(image.shape[0], image.shape[1], contract)
    pixels = _resize(_in_colour(image, contract), plan.scaled_height, plan.scaled_width)
    below = max(0, plan.tile_height - plan.scaled_height)
    right = max(0, plan.tile_width - plan.scaled_width)
    if below or right:  # numpy repeats the reflection where the picture is smaller than the padding
        pixels = np.pad(pixels, ((0, below), (0, right), (0, 0))[: pixels.ndim], mode="reflect")
    shape = (len(plan.places), plan.tile_height, plan.tile_width, contract.channels)
    tiles = np.empty(shape, dtype=np.uint8)
    for tile, (y, x) in zip(tiles, plan.places, strict=True):
        part = pixels[y : y + plan.tile_height, x : x + plan.tile_width]
        tile[...] = part.reshape(tile.shape)
    return tiles, plan


def stitch(probabilities: NDArray[np.uint8], plan: TilePlan) -> NDArray[np.uint8]:
    """Blend the tiles' maps, uint8 [N, K, tile_height, tile_width], into the picture's, uint8 [K, H, W].

    Exact where tiles agree: a model that sees one pixel at a time gives what it would give without tiles.
    """
    weights_y = _weights(plan.rows, plan.tile_height, plan.scaled_height, plan.overlap)
    weights_x = _weights(plan.columns, plan.tile_width, plan.scaled_width, plan.overlap)
    blends = [(weight_y, weight_x) for weight_y in weights_y for weight_x in weights_x]
    whole = np.empty((probabilities.shape[1], plan.height, plan.width), dtype=np.uint8)
    for k in range(len(whole)):  # class by class: only one picture of floats at a time
        total = np.zeros((plan.scaled_height, plan.scaled_width), dtype=np.float32)
        for tile, (y, x), (weight_y, weight_x) in zip(probabilities[:, k], plan.places, blends, strict=True):
            inside = tile[: len(weight_y), : len(weight_x)] * weight_y[:, None] * weight_x
            total[y : y + len(weight_y), x : x + len(weight_x)] += inside
        whole[k] = _resize(np.rint(total).astype(np.uint8), plan.height, plan.width)
    return whole


def _starts(side: int, tile: int, overlap: int) -> tuple[int, ...]:
    """Where tiles start along one side; the last one is moved back to end with the picture."""
    if side <= tile:
        return (0,)
    return (*range(0, side - tile, tile - overlap), side - tile)


def _count(side: int, tile: int, overlap: int) -> int:
    """How many tiles `_starts` would lay, without laying them."""
    return 1 if side <= tile else 1 + len(range(0, side - tile, tile - overlap))


def _weights(starts: tuple[int, ...], tile: int, side: int, overlap: int) -> list[NDArray[np.float32]]:
    """Each tile's weights along one side: ramps over the overlap, scaled to add up to 1 everywhere."""
    length = min(tile, side)
    place = np.arange(length)
    ramp = np.minimum(np.minimum(place + 1, length - place) / (overlap + 1), 1.0)
    total = np.zeros(side)
    for start in starts:
        total[start : start + length] += ramp
    return [(ramp / total[start : start + length]).astype(np.float32) for start in starts]


def _in_colour(image: NDArray[np.uint8], contract: InputContract) -> NDArray[np.uint8]:
    """The picture in the contract's colour; grey by Rec. 601 luma."""
    if contract.colour == "gray" and image.ndim == 3:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    if contract.colour == "rgb" and image.ndim == 2:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
    return image


def _resize(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    if pixels.shape[:2] == (height, width):
        return pixels
    # averaging when shrinking, so that a thin crack is dimmed and not skipped
    shrinks = height < pixels.shape[0] or width < pixels.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how), dtype=np.uint8)

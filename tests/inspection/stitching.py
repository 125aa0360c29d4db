"""The way back from tiles in one go, as a yardstick: every tile added to a whole image of floats."""

import numpy as np
from numpy.typing import NDArray

from app.inspection.inference.blend import Blend
from app.inspection.inference.tiling import TilePlan, resized

Levels = NDArray[np.uint8]


def stitched(maps: Levels, plan: TilePlan) -> Levels:
    """Maps uint8 [N, K, tile_height, tile_width], in the tiles' order, as the image's, uint8 [K, H, W]."""
    size = plan.scaled_height, plan.scaled_width
    weights_y, weights_x = (
        _weights(starts, tile, side, plan.overlap)
        for starts, tile, side in zip((plan.rows, plan.columns), maps.shape[2:], size, strict=True)
    )
    whole = np.empty((maps.shape[1], plan.height, plan.width), dtype=np.uint8)
    for k in range(len(whole)):
        total = np.zeros(size, dtype=np.float32)
        for number, (y, x) in enumerate(plan.places):
            row, column = divmod(number, len(plan.columns))
            weight_y, weight_x = weights_y[row], weights_x[column]
            inside = maps[number, k, : len(weight_y), : len(weight_x)] * weight_y[:, None] * weight_x
            total[y : y + len(weight_y), x : x + len(weight_x)] += inside
        whole[k] = resized(np.rint(total).astype(np.uint8), plan.height, plan.width)
    return whole


def blended(maps: Levels, plan: TilePlan, at_once: int = 3) -> Levels:
    """The same by way of the parts, a few tiles at a time."""
    whole = np.zeros((maps.shape[1], plan.height, plan.width), dtype=np.uint8)
    times = np.zeros(whole.shape, dtype=np.uint8)
    blend, order = Blend(plan, len(whole)), [number for line in plan.lines for number in line]
    for start in range(0, len(order), at_once):
        numbers = order[start : start + at_once]
        for part in blend.add(numbers, maps[numbers]):
            whole[part.k][part.place] = part.levels
            times[part.k][part.place] += 1
    assert times.max(initial=0) <= 1, "no pixel is given twice"
    return whole


def _weights(starts: tuple[int, ...], tile: int, side: int, overlap: int) -> list[NDArray[np.float32]]:
    length = min(tile, side)
    place = np.arange(length)
    ramp = np.minimum(np.minimum(place + 1, length - place) / (overlap + 1), 1.0)
    total = np.zeros(side)
    for start in starts:
        total[start : start + length] += ramp
    return [(ramp / total[start : start + length]).astype(np.float32) for start in starts]

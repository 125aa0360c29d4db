"""How far each defect is from the nearest other one, to the pixel's edge."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from app.inspection.measuring.runs import Floats, Ints, Runs

FEW = 64  # defects up to which going from one to the next is faster than sweeping over rows

PAIRS = 1 << 16  # of runs held against each other at once, to bound the memory


def gaps(found: Sequence[Runs], check: Callable[[], None] = lambda: None) -> Floats:
    """The gap in px between the outlines of each region and the nearest other one; inf for the only one.

    Regions are counted through the whole sequence. Pixels are squares, so that neighbours are 0 apart.
    `check` is called now and then and ends it with what it raises.
    """
    counts = [len(runs.start) for runs in found]
    if sum(counts) < 2:
        return np.full(sum(counts), np.inf)
    before = np.cumsum([0, *counts[:-1]])
    region = np.concatenate([runs.region + n for runs, n in zip(found, before, strict=True)])
    spans = np.concatenate([np.stack((runs.row, runs.first, runs.last)) for runs in found], axis=1)
    if sum(counts) > FEW:
        return _swept(spans, region, sum(counts), check)
    nearest = []
    for i in range(sum(counts)):
        check()
        nearest.append(_to_nearest(spans, region == i))
    return np.array(nearest)


def _to_nearest(spans: Ints, own: NDArray[np.bool_]) -> float:
    """From one region's runs to all others, less those that cannot be nearest."""
    mine, others = spans[:, own], spans[:, ~own]
    at_least = _apart(others, _box(mine))
    bound = _apart(mine, _box(others[:, [at_least.argmin()]])).min()
    others = others[:, at_least <= bound]
    mine = mine[:, _apart(mine, _box(others)) <= bound]
    block = max(1, PAIRS // mine.shape[1])
    squared = min(
        int(_apart(mine[:, :, None], others[[0, 0, 1, 2], None, i : i + block]).min())
        for i in range(0, others.shape[1], block)
    )
    return float(squared**0.5)


def _box(spans: Ints) -> Ints:
    """First and last row, first and last column."""
    return np.array([spans[0].min(), spans[0].max(), spans[1].min(), spans[2].max()])


def _apart(spans: Ints, box: Ints) -> Ints:
    """The squared gap between runs (row, first, last) and rectangles (top, bottom, left, right)."""
    (row, first, last), (top, bottom, left, right) = spans, box
    across = np.maximum(np.maximum(left - last, first - right) - 1, 0)
    down = np.maximum(np.maximum(top - row, row - bottom) - 1, 0)
    return np.asarray(across * across + down * down)


def _swept(spans: Ints, region: Ints, count: int, check: Callable[[], None]) -> Floats:
    """For very many regions: all runs look one row further at a time, until theirs has met its nearest."""
    order = np.lexsort((spans[1], spans[0]))
    (row, first, last), region = spans[:, order], region[order]
    pitch = int(last.max()) + 2
    key = row * pitch + first
    begins = np.flatnonzero(np.diff(row, prepend=-1) | np.diff(region, prepend=-1))  # one region in one row
    group = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(row)))
    before, after = begins[group] - 1, np.append(begins[1:], len(row))[group]
    nearest, active = np.full(count, np.inf), np.arange(len(row))
    for distance in range(int(row.max()) + 2):
        check()
        active = active[nearest[region[active]] > distance - 1]
        if not len(active):
            break
        for target in {distance, -distance}:
            sought = row[active] + target
            left = np.searchsorted(key, sought * pitch + last[active], side="right") - 1
            for side, skip in ((left, before), (left + 1, after)):
                met = np.clip(side, 0, len(row) - 1)
                met = np.clip(np.where(region[met] == region[active], skip[met], side), -1, len(row))
                there = (met >= 0) & (met < len(row))
                mine, met = active[there], met[there]
                same_row = row[met] == sought[there]
                mine, met = mine[same_row], met[same_row]
                across = np.maximum(np.maximum(first[met] - last[mine], first[mine] - last[met]) - 1, 0)
                np.minimum.at(nearest, region[mine], np.hypot(across, max(distance - 1, 0)))
    return nearest

"""Measure the defects of a label map."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from app.inspection.measuring.defect_regions import Regions
from app.inspection.measuring.medial_axis import axis_length, inscribed_width
from app.inspection.measuring.runs import (
    Floats,
    Ints,
    Moments,
    Runs,
    chords,
    extents,
    find_moments,
    find_runs,
    labels_of,
    moment_lengths,
)
from app.inspection.results import Defect

DECIMALS = 3  # of lengths: finer than the measurement error, coarser than rounding errors
SPECK_SIDE = 4  # px; a region whose box is no larger is too small for a medial axis
COMPACT_FILL = 0.93  # of a straight region; a parallelogram has 0.955
ROUND_ASPECT = 1.2  # below it, the direction of the long axis is mostly pixel noise
FEW = 64  # up to so many defects, comparing them one by one is faster than a sweep over rows

PAIRS = 1 << 16  # of runs compared at once, to bound the memory


def measure(
    label_map: NDArray[np.uint8],
    regions: Regions | None,
    classes: tuple[str, ...],
    pixel_pitch_mm: float | None,
    check: Callable[[], None] = lambda: None,
) -> tuple[Defect, ...]:
    """Measure every 8-connected region of every class, in class order, the largest first.

    `regions` are those that the label map was made from. They give score, probability and runner-up;
    without them the score is 1.0, as for a mask drawn by hand. Nothing else depends on them, so a label
    map alone is enough to apply another recipe. `pixel_pitch_mm` is mm per pixel; without it the mm
    fields are None. `check` is called for each region; an exception that it raises ends the measurement.
    docs/measurement.md has the definitions and their errors.
    """
    found: list[tuple[Runs, list[Defect]]] = []
    for value in labels_of(label_map):
        runs = find_runs(label_map, value, check)
        measured = _measure_class(classes[value - 1], runs, label_map.shape, pixel_pitch_mm, check)
        of_class = list(measured) if regions is None else list(_scored(measured, runs, regions, classes))
        found.append((runs, of_class))
    nearest = iter(gaps([runs for runs, _ in found], check).tolist())
    defects: list[Defect] = []
    for _, unplaced in found:
        placed = [_with_nearest(each, next(nearest), pixel_pitch_mm) for each in unplaced]
        defects += sorted(placed, key=lambda each: -each.area_px)
    return tuple(defects)


def _scored(
    measured: Iterable[Defect], runs: Runs, regions: Regions, classes: tuple[str, ...]
) -> Iterator[Defect]:
    """The defects with score, probability and runner-up of the regions that contain them."""
    of = regions.at(runs.row[runs.start], runs.first[runs.start])
    names = (None, *classes)
    scores, probability = _scores(regions.highest, runs), regions.probability[of]
    runner_up = regions.runner_up[of]
    for i, defect in enumerate(measured):
        yield replace(
            defect,
            score=float(scores[i]),
            probability=float(probability[i]),
            runner_up=names[runner_up[i]],
        )


def _scores(plane: NDArray[np.uint8], runs: Runs) -> Floats:
    """The highest probability in each region."""
    pixels = plane.reshape(-1)
    first = runs.row * plane.shape[1] + runs.first
    after = first + runs.last - runs.first + 1
    bounds = np.minimum(np.stack((first, after), axis=1).ravel(), len(pixels) - 1)
    of_runs = np.maximum.reduceat(pixels, bounds)[::2]  # drops the gaps between runs
    at_end = after == len(pixels)
    of_runs[at_end] = np.maximum(of_runs[at_end], pixels[-1])
    return np.asarray(np.maximum.reduceat(of_runs, runs.start) / 255)


def _measure_class(
    name: str,
    runs: Runs,
    shape: tuple[int, ...],
    pitch: float | None,
    check: Callable[[], None],
) -> Iterator[Defect]:
    moments, boxes = find_moments(runs), runs.boxes()
    lengths, widths = _sizes(runs, moments, boxes, check)
    degrees = np.round(-np.degrees(np.arctan2(moments.along_y, moments.along_x)), 1) % 180
    for i, (left, top, right, bottom) in enumerate(boxes.tolist()):
        check()
        area = int(moments.area[i])
        length, width = round(float(lengths[i]), DECIMALS), round(float(widths[i]), DECIMALS)
        diameter = round(2 * (area / np.pi) ** 0.5, DECIMALS)
        mean_width = round(area / float(lengths[i]), DECIMALS)
        yield Defect(
            defect_class=name,
            score=1.0,
            area_px=area,
            area_mm2=None if pitch is None else _decimal(area * pitch**2),
            length_px=length,
            length_mm=_mm(length, pitch),
            width_px=width,
            width_mm=_mm(width, pitch),
            mean_width_px=mean_width,
            mean_width_mm=_mm(mean_width, pitch),
            equivalent_diameter_px=diameter,
            equivalent_diameter_mm=_mm(diameter, pitch),
            orientation_deg=float(degrees[i]),
            nearest_px=None,
            nearest_mm=None,
            bbox=(left, top, right - left + 1, bottom - top + 1),
            centroid=(float(moments.x[i]), float(moments.y[i])),
            touches_border=left == 0 or top == 0 or right == shape[1] - 1 or bottom == shape[0] - 1,
        )


def _sizes(
    runs: Runs, moments: Moments, boxes: NDArray[np.int64], check: Callable[[], None]
) -> tuple[Floats, Floats]:
    """Length and width of each region in px: specks vectorised, larger regions one by one."""
    reach, across = extents(runs, moments)
    chord, rounded = chords(runs, moments), moment_lengths(moments)
    lengths, widths = np.maximum(reach, across), np.minimum(reach, across)
    larger = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) >= SPECK_SIDE
    for i in np.flatnonzero(larger).tolist():
        check()
        mask = runs.mask_of(i, boxes[i])
        if moments.fill[i] < COMPACT_FILL:
            length = axis_length(mask)
            lengths[i] = length or lengths[i]
        else:
            is_round = moments.long_deviation[i] < ROUND_ASPECT * moments.short_deviation[i]
            lengths[i] = rounded[i] if is_round else chord[i]
        widths[i] = min(inscribed_width(mask), lengths[i])
    return lengths, widths


def _with_nearest(defect: Defect, gap: float, pitch: float | None) -> Defect:
    if gap == np.inf:
        return defect
    rounded = round(gap, DECIMALS)
    return replace(defect, nearest_px=rounded, nearest_mm=_mm(rounded, pitch))


def _mm(px: float, pitch: float | None) -> float | None:
    return None if pitch is None else _decimal(px * pitch)


def _decimal(value: float) -> float:
    """Round to 9 digits: a binary fraction's error must not put a value at a limit beyond it."""
    return float(f"{value:.9g}")


def gaps(found: Sequence[Runs], check: Callable[[], None] = lambda: None) -> Floats:
    """The gap in px between the outlines of each region and the nearest other; inf for a single one.

    Returns float64 [N] for the regions of all `found` in order. Pixels are squares, so neighbouring
    pixels have gap 0. `check` is called regularly; an exception that it raises ends the search.
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
    """The gap in px from one region to the nearest other run; runs too far away are skipped."""
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
    """Bounding box: first and last row, first and last column."""
    return np.array([spans[0].min(), spans[0].max(), spans[1].min(), spans[2].max()])


def _apart(spans: Ints, box: Ints) -> Ints:
    """The squared gap between runs (row, first, last) and rectangles (top, bottom, left, right)."""
    (row, first, last), (top, bottom, left, right) = spans, box
    across = np.maximum(np.maximum(left - last, first - right) - 1, 0)
    down = np.maximum(np.maximum(top - row, row - bottom) - 1, 0)
    return np.asarray(across * across + down * down)


def _swept(spans: Ints, region: Ints, count: int, check: Callable[[], None]) -> Floats:
    """`gaps` for many regions: all runs search one row further at a time until the nearest is found."""
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

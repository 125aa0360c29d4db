"""From the any-defect mask to defects: connected regions, one class each, kept or dropped whole."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from app.inspection.bundle.artifact import OperatingPoint
from app.inspection.bundle.region_model import REGION_FEATURES, logit
from app.inspection.measuring.mask import MaskAccumulator
from app.inspection.measuring.runs import BAND_PX, Floats, Ints, Runs, find_runs, labels_of
from app.inspection.results import TileProbability

PIXELS_AT_ONCE = 1 << 20  # mask pixels processed together, to bound the memory
SURROUND_PX = 8  # width of the surroundings around a region's box
SAMPLES_AT_ONCE = 1 << 18  # samples of several regions' surroundings processed together
SAMPLES_A_SIDE = 64  # of a region's surroundings: bounds the cost of a large box
FAR_FROM_BORDER_PX = 32
LEAST_DEVIATION = 4.0  # grey levels: on a smooth surface noise must not count as contrast


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """Connected regions of the any-defect mask.

    `label` is the class with the largest summed probability, each pixel counting for its most probable
    class, and `runner_up` the second (0 for none), int [N] each; `features` is float [N, 6] as in
    `REGION_FEATURES`; `probability`, float [N], is that of being a defect. `highest` is the image's
    any-defect probability, uint8 [H, W].
    """

    runs: Runs
    label: Ints
    runner_up: Ints
    features: Floats
    probability: Floats
    highest: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.label)

    def only(self, kept: NDArray[np.bool_]) -> "Regions":
        """The regions selected by `kept`, bool [N]."""
        return Regions(
            runs=self.runs.only(kept),
            label=self.label[kept],
            runner_up=self.runner_up[kept],
            features=self.features[kept],
            probability=self.probability[kept],
            highest=self.highest,
        )

    def at(self, row: Ints, column: Ints) -> Ints:
        """The region index of each pixel (row, column); each must lie in a region."""
        pitch = self.highest.shape[1]
        key = self.runs.row * pitch + self.runs.first
        order = np.argsort(key)
        place = np.searchsorted(key[order], row * pitch + column, side="right") - 1
        return np.asarray(self.runs.region[order[place]])


def form_regions(
    marks: MaskAccumulator,
    image: NDArray[np.uint8],
    tiles: Sequence[TileProbability],
    point: OperatingPoint,
    check: Callable[[], None] = lambda: None,
) -> Regions:
    """Form the 8-connected regions of the mask that reach the least area; erase smaller ones from it.

    `image` is uint8 [H, W] or [H, W, 3], `tiles` the image-level answer of each tile. `check` is called
    regularly; an exception that it raises ends the step.
    """
    runs = _large_enough(marks.label_map, point.min_area_px, check)
    if not len(runs.start):
        none = np.zeros(0, np.int64)
        return Regions(runs, none, none, np.zeros((0, len(REGION_FEATURES))), np.zeros(0), marks.highest)
    areas = runs.areas()
    sums, peaks, grey, votes = _pixel_sums(runs, marks, image, len(areas), check)
    boxes = runs.boxes()
    features = np.stack(
        (
            logit(sums / areas / 255),
            peaks / 255,
            np.log(areas),
            _contrast(boxes, grey / areas, image, marks.label_map, check),
            _border_gap(boxes, marks.label_map.shape),
            logit(_head(boxes, tiles)),
        ),
        axis=1,
    )
    label, runner_up = votes
    return Regions(runs, label, runner_up, features, point.regions.probability(features), marks.highest)


def keep_defects(
    marks: MaskAccumulator, regions: Regions, point: OperatingPoint, check: Callable[[], None] = lambda: None
) -> Regions:
    """Drop the regions below the image threshold, label the others; writes `marks.label_map`.

    `check` is called regularly; an exception that it raises ends the step.
    """
    kept = regions.probability >= point.image_threshold
    _paint(marks.label_map, regions.runs, np.where(kept, regions.label, 0), check)
    return regions.only(kept)


def _large_enough(label_map: NDArray[np.uint8], least: int, check: Callable[[], None]) -> Runs:
    """The regions with at least `least` pixels; smaller ones are erased from the label map.

    Small regions inside one band are erased first, band by band, so that a large image full of specks
    takes little memory.
    """
    height, width = label_map.shape
    step = max(1, BAND_PX // width)
    if least > 1:
        for start in range(0, height, step) if step < height else ():
            check()
            band = label_map[start : start + step]
            if labels_of(band):
                runs = find_runs(band, None)
                boxes = runs.boxes()
                inside = (boxes[:, 1] > 0) & (boxes[:, 3] < len(band) - 1)
                _paint(band, runs, np.where(inside & (runs.areas() < least), 0, -1), check)
    if not labels_of(label_map):
        return Runs.none()
    runs = find_runs(label_map, None, check)
    small = runs.areas() < least
    if not small.any():
        return runs
    _paint(label_map, runs, np.where(small, 0, -1), check)
    return runs.only(~small)


def _pixels(runs: Runs, width: int) -> Iterator[tuple[Ints, Ints]]:
    """Yield flat pixel index and region index of all pixels of the regions, in blocks."""
    lengths, starts = runs.last - runs.first + 1, runs.row * width + runs.first
    ends = np.cumsum(lengths)
    begin = 0
    while begin < len(lengths):
        limit = (ends[begin - 1] if begin else 0) + PIXELS_AT_ONCE
        end = max(begin + 1, int(np.searchsorted(ends, limit, side="right")))
        count = lengths[begin:end]
        offsets = np.repeat(starts[begin:end] - (count.cumsum() - count), count)
        yield offsets + np.arange(count.sum()), np.repeat(runs.region[begin:end], count)
        begin = end


def _paint(label_map: NDArray[np.uint8], runs: Runs, values: Ints, check: Callable[[], None]) -> None:
    """Set the pixels of each region to its value, int [N]; -1 leaves a region unchanged."""
    pixels = label_map.reshape(-1)
    chosen = runs.only(values >= 0)
    of = values[values >= 0]
    for index, region in _pixels(chosen, label_map.shape[1]):
        check()
        pixels[index] = of[region]


def _pixel_sums(
    runs: Runs, marks: MaskAccumulator, image: NDArray[np.uint8], count: int, check: Callable[[], None]
) -> tuple[Floats, Floats, Floats, tuple[Ints, Ints]]:
    """For each region: sum and maximum of levels, sum of grey levels, and its two most probable classes.

    A pixel votes for its most probable class with that class's probability.
    """
    classes = labels_of(marks.label_map)
    votes = np.zeros((len(classes), count))
    sums, grey, peaks = np.zeros(count), np.zeros(count), np.zeros(count)
    levels, labels = marks.highest.reshape(-1), marks.label_map.reshape(-1)
    pixels = image.reshape(levels.size, -1)
    for index, region in _pixels(runs, marks.highest.shape[1]):
        check()
        level, label = levels[index].astype(np.float64), labels[index]
        sums += np.bincount(region, level, count)
        grey += np.bincount(region, pixels[index].mean(axis=1), count)
        np.maximum.at(peaks, region, level)
        for row, value in enumerate(classes):
            votes[row] += np.bincount(region, np.where(label == value, level, 0), count)
    order = np.argsort(-votes, axis=0, kind="stable")
    numbers = np.array(classes, np.int64)
    if len(classes) == 1:
        return sums, peaks, grey, (numbers[order[0]], np.zeros(count, np.int64))
    second = np.take_along_axis(votes, order[1:2], axis=0)[0]
    return sums, peaks, grey, (numbers[order[0]], np.where(second > 0, numbers[order[1]], 0))


def _contrast(
    boxes: Ints,
    inside: Floats,
    image: NDArray[np.uint8],
    label_map: NDArray[np.uint8],
    check: Callable[[], None],
) -> Floats:
    """Contrast of each region to the background pixels around it, in their standard deviations."""
    found = np.zeros(len(boxes))
    channels = image.reshape(*label_map.shape, -1)
    for windows in _surroundings(boxes, label_map.shape):
        check()
        unmarked = windows.of(label_map) == 0
        levels = windows.of(channels).sum(
            axis=1, dtype=np.float64
        )  # for a colour image, three times the grey level
        levels *= unmarked
        count = np.count_nonzero(unmarked, axis=(1, 2))
        total, squares = levels.sum(axis=(1, 2)), np.einsum("nrc,nrc->n", levels, levels)
        scale = np.maximum(count, 1) * channels.shape[2]
        deviation = np.sqrt(count * squares - total * total) / scale  # integer sums, so exact
        apart = np.abs(inside[windows.regions] - total / scale)
        found[windows.regions] = np.where(count > 0, apart / np.maximum(deviation, LEAST_DEVIATION), 0)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Windows:
    """Windows of one size around some regions: every `step`-th pixel from (x, y) on."""

    regions: Ints
    x: Ints
    y: Ints
    size: tuple[int, int]
    step: tuple[int, int]

    def of(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The samples of an array [H, W, …] in the windows, [N, …, rows, columns]."""
        every = sliding_window_view(pixels, self.size, axis=(0, 1))
        return every[self.y, self.x, ..., :: self.step[0], :: self.step[1]]


def _surroundings(boxes: Ints, shape: tuple[int, ...]) -> Iterator[_Windows]:
    """Yield the surroundings of all regions in blocks of one size, to bound the memory."""
    begin, end = np.maximum(boxes[:, :2] - SURROUND_PX, 0), boxes[:, 2:] + 1 + SURROUND_PX
    size, step = np.minimum(end, shape[1::-1]) - begin, -(-(end - begin) // SAMPLES_A_SIDE)
    kinds = np.hstack((size, step))
    order = np.lexsort(kinds.T)
    for alike in np.split(order, np.flatnonzero(np.diff(kinds[order], axis=0).any(axis=1)) + 1):
        columns, rows, across, down = kinds[alike[0]].tolist()
        at_once = max(1, SAMPLES_AT_ONCE * across * down // (rows * columns))
        for first in range(0, len(alike), at_once):
            regions = alike[first : first + at_once]
            x, y = begin[regions].T
            yield _Windows(regions, x, y, (rows, columns), (down, across))


def _border_gap(boxes: Ints, shape: tuple[int, ...]) -> Floats:
    left, top, right, bottom = boxes.T
    gap = np.minimum.reduce([left, top, shape[1] - 1 - right, shape[0] - 1 - bottom])
    return np.asarray(np.minimum(gap, FAR_FROM_BORDER_PX) / FAR_FROM_BORDER_PX)


def _head(boxes: Ints, tiles: Sequence[TileProbability]) -> Floats:
    """The highest image-level probability of the tiles that each region's box overlaps."""
    left, top, right, bottom = boxes.T
    found = np.zeros(len(boxes))
    for tile in tiles:
        rows, columns = tile.rows, tile.columns
        reaches = (
            (left < columns.stop) & (right >= columns.start) & (top < rows.stop) & (bottom >= rows.start)
        )
        found[reaches] = np.maximum(found[reaches], tile.probability)
    return found

"""A class mask as run lengths, which are fast to sum over: a large defect has few runs."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

RECTANGLE, ELLIPSE = 12**0.5, 4.0  # length of a side or an axis, in standard deviations along it
PARALLELOGRAM = 3 / np.pi  # `fill` of any parallelogram; that of an ellipse is 1
BAND_PX = 1 << 20  # pixels labelled at a time: labelling takes several bytes a pixel


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Horizontal runs of pixels, `first` to `last` of `row`, grouped by 8-connected region.

    `region` is each run's region index, `start` the index of each region's first run. The runs of a
    region are in raster order.
    """

    row: Ints
    first: Ints
    last: Ints
    region: Ints
    start: Ints

    @classmethod
    def none(cls) -> "Runs":
        """Runs without any region."""
        return cls(*(np.zeros(0, np.int64) for _ in range(5)))

    def only(self, kept: NDArray[np.bool_]) -> "Runs":
        """The regions selected by `kept`, bool [N], renumbered in the same order."""
        chosen = kept[self.region]
        region = (np.cumsum(kept) - 1)[self.region[chosen]]
        start = np.flatnonzero(np.diff(region, prepend=-1))
        return Runs(self.row[chosen], self.first[chosen], self.last[chosen], region, start)

    def areas(self) -> Ints:
        """The area of each region in pixels, int [N]."""
        return np.asarray(np.add.reduceat(self.last - self.first + 1, self.start))

    def boxes(self) -> Ints:
        """(left, top, right, bottom) of each region, int [N, 4], the last two inclusive."""
        least, most = np.minimum.reduceat, np.maximum.reduceat
        sides = (least(self.first, self.start), self.row[self.start])
        return np.stack((*sides, most(self.last, self.start), most(self.row, self.start)), axis=1)

    def mask_of(self, region: int, box: Ints) -> NDArray[np.uint8]:
        """One region as a 0/1 mask of its box, with a one-pixel background frame."""
        left, top, right, bottom = box.tolist()
        after = self.start[region + 1] if region + 1 < len(self.start) else len(self.row)
        of = slice(self.start[region], after)
        rows = self.row[of] - top + 1
        steps = np.zeros((bottom - top + 3, right - left + 3), dtype=np.int8)
        steps[rows, self.first[of] - left + 1] = 1
        steps[rows, self.last[of] - left + 2] = -1  # never where the next run begins: runs do not touch
        return np.cumsum(steps, axis=1, out=steps).view(np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Area, centroid and long axis of each region, pixels being squares; all float64 [N].

    (`along_x`, `along_y`) is the direction of the long axis, y down. `fill` is the area divided by that
    of the ellipse with the same second moments: 1 for an ellipse, 0.955 for a parallelogram, less for
    bent, branched or notched shapes.
    """

    area: Floats
    x: Floats
    y: Floats
    along_x: Floats
    along_y: Floats
    long_deviation: Floats
    short_deviation: Floats
    fill: Floats


def labels_of(label_map: NDArray[np.uint8]) -> list[int]:
    """The values other than 0 in a label map [H, W], in rising order."""
    if not label_map.any():
        return []
    counts = cv2.calcHist([label_map], [0], None, [256], [0, 256]).ravel()
    return [int(value) for value in np.flatnonzero(counts) if value]


def find_runs(
    label_map: NDArray[np.uint8] | NDArray[np.bool_],
    value: int | None = 1,
    check: Callable[[], None] = lambda: None,
) -> Runs:
    """The runs of one value of a label map or mask [H, W], which must contain it at least once.

    With None, the runs of all values other than 0 together. Works band by band inside the value's
    bounding box, so that a large image takes little memory; `check` is called for each band.
    """
    labels = label_map.view(np.uint8)
    left, top, right, bottom = _box_of(labels, value, check)
    step = max(1, BAND_PX // (right - left))
    found: list[NDArray[np.int64]] = []  # of each band: row, first, last, region
    touching: list[tuple[int, int]] = []
    count = 0
    for start in range(top, bottom, step):
        check()
        band, regions = _band(_is(labels[start : min(start + step, bottom), left:right], value))
        band += np.array([[start], [left], [left], [count]])
        if found:
            touching += _touching(found[-1], band, start)
        found.append(band)
        count += regions
    row, first, last, number = np.concatenate(found, axis=1)
    if touching:
        number = _joined(count, touching)[number]
    order = np.argsort(number, kind="stable")
    region = number[order]
    start_of = np.flatnonzero(np.diff(region, prepend=-1))
    return Runs(row[order], first[order], last[order], region, start_of)


def _is(labels: NDArray[np.uint8], value: int | None) -> NDArray[np.bool_]:
    return np.asarray(labels != 0 if value is None else labels == value)


def _box_of(
    labels: NDArray[np.uint8], value: int | None, check: Callable[[], None]
) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a value's bounding box, the last two exclusive."""
    step = max(1, BAND_PX // labels.shape[1])
    boxes = []
    for start in range(0, len(labels), step):
        check()
        x, y, width, height = cv2.boundingRect(_is(labels[start : start + step], value).view(np.uint8))
        if width:
            boxes.append((x, y + start, x + width, y + start + height))
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)


def _band(mask: NDArray[np.bool_]) -> tuple[Ints, int]:
    """Row, first, last and region of a mask's runs in raster order, int [4, N]; number of regions."""
    framed = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), dtype=np.uint8)  # so every run has ends
    framed[1:-1, 1:-1] = mask
    changes = cv2.findNonZero(np.bitwise_xor(framed[:, 1:], framed[:, :-1]))
    if changes is None:
        return np.zeros((4, 0), dtype=np.int64), 0
    column, row = changes.reshape(-1, 2).astype(np.int64)[::2].T
    last = changes.reshape(-1, 2)[1::2, 0] - 1
    count, labels = cv2.connectedComponents(framed, connectivity=8)
    return np.stack((row - 1, column, last, labels[row, column + 1] - 1)), count - 1


def _touching(above: Ints, below: Ints, row: int) -> list[tuple[int, int]]:
    """Pairs of touching regions of a band and the next one, which begins at `row`, by number."""
    upper, lower = above[:, above[0] == row - 1], below[:, below[0] == row]
    begin = np.searchsorted(lower[2], upper[1] - 1)
    end = np.searchsorted(lower[1], upper[2] + 1, side="right")
    numbers = lower[3].tolist()
    pairs = zip(upper[3].tolist(), begin.tolist(), end.tolist(), strict=True)
    return [(number, other) for number, a, b in pairs for other in numbers[a:b]]


def _joined(count: int, touching: list[tuple[int, int]]) -> Ints:
    """New number of each region after merging touching ones (union-find), by first member."""
    parent = list(range(count))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    for first, second in touching:
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    return np.unique([root(number) for number in range(count)], return_inverse=True)[1].astype(np.int64)


def find_moments(runs: Runs) -> Moments:
    """Area, centroid and second moments of each region."""
    region, of = runs.region, runs.start
    x0, y0 = runs.first[of], runs.row[of]  # origin of the sums, to keep precision far from (0, 0)
    n = (runs.last - runs.first + 1).astype(float)
    x, y = (runs.first + runs.last) / 2 - x0[region], (runs.row - y0[region]).astype(float)
    terms = np.stack((n, n * x, n * y, n * x * x + n**3 / 12, n * y * y + n / 12, n * x * y))
    sums = np.add.reduceat(terms, of, axis=1)
    area = sums[0]
    mx, my, xx, yy, xy = (each / area for each in sums[1:])
    xx, yy, xy = xx - mx * mx, yy - my * my, xy - mx * my
    angle = np.arctan2(2 * xy, xx - yy) / 2
    middle, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    long, short = np.sqrt(middle + spread), np.sqrt(np.maximum(middle - spread, 1 / 16))
    fill = area / (4 * np.pi * long * short)
    return Moments(area, mx + x0, my + y0, np.cos(angle), np.sin(angle), long, short, fill)


def extents(runs: Runs, moments: Moments) -> tuple[Floats, Floats]:
    """The extent of each region along its long axis and across it, in px.

    Between the centres of the outermost pixels, plus the length of a line through the centre of one
    pixel.
    """
    region = runs.region
    y = runs.row - moments.y[region]
    found = []
    for ux, uy in ((moments.along_x, moments.along_y), (-moments.along_y, moments.along_x)):
        ends = [(side - moments.x[region]) * ux[region] + y * uy[region] for side in (runs.first, runs.last)]
        reach = np.maximum.reduceat(np.maximum(*ends), runs.start) - np.minimum.reduceat(
            np.minimum(*ends), runs.start
        )
        found.append(reach + 1 / np.maximum(abs(ux), abs(uy)))
    return found[0], found[1]


def chords(runs: Runs, moments: Moments) -> Floats:
    """Length in px of the chord through the centroid along the long axis, gaps included."""
    region = runs.region
    enter, leave = np.full(len(region), -np.inf), np.full(len(region), np.inf)
    half = (runs.last - runs.first + 1) / 2
    for offset, reach, u in (
        ((runs.first + runs.last) / 2 - moments.x[region], half, moments.along_x[region]),
        (runs.row - moments.y[region], 0.5, moments.along_y[region]),
    ):
        u = np.where(abs(u) < 1e-9, 1e-9, u)
        np.maximum(enter, offset / u - reach / abs(u), out=enter)
        np.minimum(leave, offset / u + reach / abs(u), out=leave)
    met = enter <= leave
    first = np.minimum.reduceat(np.where(met, enter, np.inf), runs.start)
    last = np.maximum.reduceat(np.where(met, leave, -np.inf), runs.start)
    return np.asarray(np.maximum(last - first, 0))


def moment_lengths(moments: Moments) -> Floats:
    """Length in px from the moments, interpolated between a rectangle's side and an ellipse's axis."""
    roundness = np.clip((moments.fill - PARALLELOGRAM) / (1 - PARALLELOGRAM), 0, 1)
    factor = RECTANGLE + (ELLIPSE - RECTANGLE) * roundness**2 * (3 - 2 * roundness)
    return np.asarray(moments.long_deviation * factor)

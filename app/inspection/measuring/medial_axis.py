"""Length and width of a region by its medial axis: the centres of its maximal inscribed circles."""

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]
Floats = NDArray[np.float64]

THICK_RADIUS = 8  # px; thicker regions are downscaled first to save thinning iterations
THIN_RADIUS = 1.5  # px; up to it the skeleton reaches the ends; an extension could leave at the side
END_WEIGHT = 2.0  # of the radius at an end: a spur into a corner of 60 degrees or more does not pay
END_CUT = 0.3  # of the radius: cut off at each end, where the skeleton turns into a corner
LOOP = 8  # px of the skeleton; least length of a loop
STEP = 0.25  # px; sampling distance on the way to the outline
NEIGHBOURS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))  # bits 0 to 7, clockwise
KERNEL = np.zeros((3, 3), dtype=np.float32)
SHARP_TURN = 0.3  # cosine of the turn (73 degrees) from which it is a corner and not a pixel step
SMOOTHING = 3  # px of the skeleton on each side of a point, averaged
TURN_REACH = 5  # px of the skeleton on each side of a point, to measure its turn
for _bit, (_dy, _dx) in enumerate(NEIGHBOURS):
    KERNEL[1 + _dy, 1 + _dx] = 1 << _bit


def _thinning_table(turn: int) -> Mask:
    """Guo and Hall's thinning rule: 0 removes a pixel, by neighbour code; `turn` is the sub-iteration.

    Guo, Hall, "Parallel thinning with two-subiteration algorithms", Communications of the ACM 32 (1989), A1.
    """
    keep = np.ones(256, dtype=np.uint8)
    for code in range(256):
        n, ne, e, se, s, sw, w, nw = ((code >> bit) & 1 for bit in range(8))
        crossings = (1 - n) * (ne | e) + (1 - e) * (se | s) + (1 - s) * (sw | w) + (1 - w) * (nw | n)
        pairs = min((nw | n) + (ne | e) + (se | s) + (sw | w), (n | ne) + (e | se) + (s | sw) + (w | nw))
        kept_side = (n | ne | (1 - se)) & e if turn else (s | sw | (1 - nw)) & w
        keep[code] = not (crossings == 1 and 2 <= pairs <= 3 and not kept_side)
    return keep


def _link_table() -> list[list[tuple[int, int, float]]]:
    """(dy, dx, length) of the links of a skeleton pixel, by neighbour code.

    A diagonal link is left out if two straight steps lead to the same pixel, so that a bend has no
    triangle.
    """
    table = []
    for code in range(256):
        has = [(code >> bit) & 1 for bit in range(8)]
        bits = [b for b in range(8) if has[b] and (b % 2 == 0 or not (has[b - 1] or has[(b + 1) % 8]))]
        table.append([(*NEIGHBOURS[b], 2**0.5 if b % 2 else 1.0) for b in bits])
    return table


KEEP = (_thinning_table(0), _thinning_table(1))
LINKS = _link_table()


def thin(mask: Mask) -> Mask:
    """The skeleton of a 0/1 mask with a background frame: one pixel wide, same connectivity."""
    left = cv2.countNonZero(mask)
    while True:
        for keep in KEEP:
            mask = np.asarray(cv2.bitwise_and(mask, cv2.LUT(_codes(mask), keep)), dtype=np.uint8)
        before, left = left, cv2.countNonZero(mask)
        if left == before:
            return mask


def _codes(mask: Mask) -> Mask:
    """The neighbour code of each pixel: one bit for each neighbour."""
    return np.asarray(cv2.filter2D(mask, cv2.CV_8U, KERNEL, borderType=cv2.BORDER_CONSTANT), dtype=np.uint8)


def axis_length(mask: Mask) -> float | None:
    """Length in px of a region along its medial axis, extended straight to the outline at both ends.

    `mask` is 0 and 1, [H, W], with a background frame. The axis is the longest path in the skeleton, the
    radii at its ends included. Spurs and side branches do not count; a loop is followed all the way
    round. None if the axis is too short to have a direction.
    """
    mask = _without_pores(mask)
    distance = _distance(mask)
    radius = float(distance.max())
    scale = max(1, int(radius / THICK_RADIUS))
    small = _smaller(mask, scale)
    path = _longest_path(thin(small), distance if scale == 1 else _distance(small))
    points = smooth((path - (scale > 1) + 0.5) * scale - 0.5)
    if len(path) > LOOP and abs(path[0] - path[-1]).max() <= 2:  # a closed loop
        return _length(points) + _length(points[[0, -1]])
    if _length(points) < radius:
        return None
    steps = radius / scale
    cut = min(round(END_CUT * steps), len(points) // 4) if radius > THIN_RADIUS else 0
    points = points[cut : len(points) - cut]
    back = min(max(4, round(1.5 * steps)), len(points) - 1)
    ahead = np.stack((points[0] - points[back], points[-1] - points[-1 - back]))
    if radius <= THIN_RADIUS:  # the skeleton ends at the centres of the last pixels
        beyond = np.hypot(*ahead.T) / abs(ahead).max(axis=1) / 2
    else:
        beyond = _to_outline(mask, radius, points[[0, -1]], ahead)
    return _length(points) + float(beyond.sum())


def _distance(mask: Mask) -> NDArray[np.float32]:
    """Distance in px from each pixel to the nearest background, accurate to 2 %."""
    return np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_5), dtype=np.float32)


def _without_pores(mask: Mask) -> Mask:
    """Fill holes that are too small for the region to be a ring.

    A hole of a third of a disc's diameter has an eighth of the area around it; a larger hole is wider
    than the ring around it.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(1 - mask, connectivity=4)
    if count == 2:  # no holes: the region and its outside only
        return mask
    areas = stats[:, cv2.CC_STAT_AREA]
    pores = 8 * areas < cv2.countNonZero(mask)
    pores[[0, labels[0, 0]]] = False
    return np.asarray(mask | pores[labels], dtype=np.uint8)


def _smaller(mask: Mask, scale: int) -> Mask:
    """The mask at 1 / scale with one more pixel of frame; unchanged for scale 1."""
    if scale == 1:
        return mask
    height, width = (-(-side // scale) for side in mask.shape)
    whole = np.zeros((height * scale, width * scale), dtype=np.uint8)
    whole[: mask.shape[0], : mask.shape[1]] = mask * 255
    small = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
    return np.pad(np.asarray(small > 127, dtype=np.uint8), 1)


def _length(points: Floats) -> float:
    return float(np.hypot(*np.diff(points, axis=0).T).sum())


def _longest_path(skeleton: Mask, distance: NDArray[np.float32]) -> Floats:
    """The (y, x) of the longest path, END_WEIGHT x radius added at both ends; float [N, 2].

    The path is searched in the breadth-first tree from one pixel, which cuts each loop opposite its
    entry.
    """
    width = skeleton.shape[1]
    pixels = np.flatnonzero(skeleton)
    codes = _codes(skeleton).ravel()[pixels].tolist()
    links = {code: [(dy * width + dx, step) for dy, dx, step in LINKS[code]] for code in set(codes)}
    links_of = dict(zip(pixels.tolist(), map(links.__getitem__, codes), strict=True))
    root = int(pixels[0])
    order, parent, steps = [root], {root: -1}, [0.0]
    for pixel in order:
        for offset, step in links_of[pixel]:
            if pixel + offset not in parent:
                parent[pixel + offset] = pixel
                order.append(pixel + offset)
                steps.append(step)
    ends = (END_WEIGHT * distance.ravel()[order]).tolist()
    reach = dict(zip(order, ends, strict=True))
    toward: dict[int, int] = {}
    best, meeting, halves = -1.0, root, (-1, -1)
    for pixel, step in zip(reversed(order), reversed(steps), strict=True):
        up = parent[pixel]
        if up < 0:
            break
        far = reach[pixel] + step
        if far + reach[up] > best:
            best, meeting, halves = far + reach[up], up, (toward.get(up, -1), pixel)
        if far > reach[up]:
            reach[up], toward[up] = far, pixel
    path = [*_follow(halves[0], toward)[::-1], meeting, *_follow(halves[1], toward)]
    return np.stack(np.divmod(path, width), axis=1).astype(float)


def _follow(pixel: int, toward: dict[int, int]) -> list[int]:
    found = []
    while pixel >= 0:
        found.append(pixel)
        pixel = toward.get(pixel, -1)
    return found


def _to_outline(mask: Mask, radius: float, starts: Floats, ahead: Floats) -> Floats:
    """Distance in px [N] from inner points (y, x) [N, 2] along `ahead` to the outline, to 0.25 px.

    The search range depends on the radius: an end that tapers more slowly has the axis inside it.
    """
    reach = np.arange(0, 4 * radius + 4, STEP)
    unit = ahead / np.hypot(*ahead.T)[:, None]
    at = np.rint(starts[:, None] + reach[:, None] * unit[:, None]).astype(int)
    at = np.clip(at, 0, np.array(mask.shape) - 1)  # to the background frame
    outside = mask[at[..., 0], at[..., 1]] == 0
    outside[:, -1] = True
    return np.asarray(reach[outside.argmax(axis=1)] - STEP / 2)


def inscribed_width(mask: Mask) -> float:
    """Diameter in px of the largest inscribed circle; `mask` as for `axis_length`.

    Measured on a blurred and upscaled copy of the widest place, because the pixel steps of a slanted
    outline reach into the circle. Upscaled, a whole width is an even number of pixels and the distance
    is half of it. At scale 1 the width may be odd, so half a pixel is subtracted.
    """
    _, radius, _, (x, y) = cv2.minMaxLoc(_distance(mask))
    scale = 4 if radius < 8 else 2 if radius < 16 else 1
    reach = int(radius) + 3
    left, top = max(0, x - reach), max(0, y - reach)
    place = cv2.copyMakeBorder(
        mask[top : y + reach, left : x + reach] * 255, 1, 1, 1, 1, cv2.BORDER_REPLICATE
    )
    soft = cv2.GaussianBlur(place, (5, 5) if radius >= 4 else (3, 3), 0)
    fine = cv2.resize(soft, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR) > 127
    inner = cv2.distanceTransform(fine.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    row, column = (y - top + 1) * scale, (x - left + 1) * scale
    near = inner[row - 2 * scale : row + 3 * scale, column - 2 * scale : column + 3 * scale]
    return max(1.0, (2 * float(near.max()) - (0.5 if scale == 1 else 0)) / scale)


def smooth(points: Floats) -> Floats:
    """Smooth the pixel steps of a path [N, 2], keeping its ends and sharp turns in place.

    Moving means shorten a curve of radius R by their variance / (2 R^2). Smoothing the residual and
    adding it back corrects that (twicing: Tukey, Exploratory Data Analysis, 1977).
    """
    bounds = [0, *_sharp_turns(points), len(points) - 1]
    pieces = [_twiced(points[start : end + 1])[:-1] for start, end in pairwise(bounds)]
    return np.concatenate((*pieces, points[-1:]))


def _twiced(points: Floats) -> Floats:
    means = _moving_means(points)
    return means + _moving_means(points - means)


def _sharp_turns(points: Floats) -> list[int]:
    """Indices of points where the path turns sharply: the cosine of the turn is at most SHARP_TURN.

    The turn is that between the steps of TURN_REACH points before and after. Of close points, the
    sharpest.
    """
    if len(points) <= 2 * TURN_REACH:
        return []
    steps = points[TURN_REACH:] - points[:-TURN_REACH]
    steps = steps / np.hypot(*steps.T)[:, None]
    straight = (steps[:-TURN_REACH] * steps[TURN_REACH:]).sum(axis=1)  # cosine of the turn
    found: list[int] = []
    for i in np.argsort(straight, kind="stable").tolist():
        if straight[i] > SHARP_TURN:
            break
        if all(abs(i + TURN_REACH - other) > TURN_REACH for other in found):
            found.append(i + TURN_REACH)
    return sorted(found)


def _moving_means(points: Floats) -> Floats:
    """Moving means over SMOOTHING points on each side; the path is point-mirrored at its ends."""
    n = min(SMOOTHING, len(points) - 1)
    if n < 1:
        return points
    before, after = 2 * points[0] - points[n:0:-1], 2 * points[-1] - points[-2 : -n - 2 : -1]
    sums = np.cumsum(np.concatenate((points[:1] * 0, before, points, after)), axis=0)
    return np.asarray((sums[2 * n + 1 :] - sums[: -2 * n - 1]) / (2 * n + 1))

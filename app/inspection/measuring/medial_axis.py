"""How long and how wide one region is, by its medial axis: the middles of the largest circles inside it."""

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]
Floats = NDArray[np.float64]

THICK_RADIUS = 8  # px; thicker regions are made smaller first, so that few rounds of thinning do
THIN_RADIUS = 1.5  # px; up to here the skeleton reaches the end, and a line straight on may leave at a side
END_WEIGHT = 2.0  # of the radius at an end: a spur into a corner of 60 degrees or more is no gain
END_CUT = 0.3  # of the radius: where the skeleton turns towards one corner of an end, and is not followed
LOOP = 8  # px of the skeleton that a loop has at least
STEP = 0.25  # px
NEIGHBOURS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))  # bits 0 to 7, clockwise
KERNEL = np.zeros((3, 3), dtype=np.float32)
SHARP_TURN = 0.3  # the cosine of a turn (73 degrees) that is a corner, and not the steps of pixels
SMOOTHING = 3  # px of the skeleton to either side
TURN_REACH = 5  # px of the skeleton: how far from a point its turn is looked at
for _bit, (_dy, _dx) in enumerate(NEIGHBOURS):
    KERNEL[1 + _dy, 1 + _dx] = 1 << _bit


def _thinning_table(turn: int) -> Mask:
    """0 where Guo and Hall's rule takes a pixel away, by the code of its neighbours, in one of two turns.

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
    """(dy, dx, length) of the links of a pixel by the code of its neighbours.

    A diagonal counts only where no two straight steps lead there, so that a bend is no triangle.
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
    """The skeleton of a mask of 0 and 1 with a background frame: lines one pixel wide, as connected as it."""
    left = cv2.countNonZero(mask)
    while True:
        for keep in KEEP:
            mask = np.asarray(cv2.bitwise_and(mask, cv2.LUT(_codes(mask), keep)), dtype=np.uint8)
        before, left = left, cv2.countNonZero(mask)
        if left == before:
            return mask


def _codes(mask: Mask) -> Mask:
    """A bit for each neighbour of each pixel."""
    return np.asarray(cv2.filter2D(mask, cv2.CV_8U, KERNEL, borderType=cv2.BORDER_CONSTANT), dtype=np.uint8)


def axis_length(mask: Mask) -> float | None:
    """Length in px of a region along its medial axis, straight on to the outline at both ends.

    `mask` is 0 and 1, [H, W], with a background frame. The axis is the path in the skeleton that is longest
    with its ends' radii; spurs and branches beside it do not count, a loop is followed all the way round.
    None where the axis is too short to have a direction.
    """
    mask = _without_pores(mask)
    distance = _distance(mask)
    radius = float(distance.max())
    scale = max(1, int(radius / THICK_RADIUS))
    small = _smaller(mask, scale)
    path = _longest_path(thin(small), distance if scale == 1 else _distance(small))
    points = smooth((path - (scale > 1) + 0.5) * scale - 0.5)
    if len(path) > LOOP and abs(path[0] - path[-1]).max() <= 2:  # a loop, which has no ends
        return _length(points) + _length(points[[0, -1]])
    if _length(points) < radius:
        return None
    steps = radius / scale
    cut = min(round(END_CUT * steps), len(points) // 4) if radius > THIN_RADIUS else 0
    points = points[cut : len(points) - cut]
    back = min(max(4, round(1.5 * steps)), len(points) - 1)
    ahead = np.stack((points[0] - points[back], points[-1] - points[-1 - back]))
    if radius <= THIN_RADIUS:  # the skeleton has the last pixels, less their outer halves
        beyond = np.hypot(*ahead.T) / abs(ahead).max(axis=1) / 2
    else:
        beyond = _to_outline(mask, radius, points[[0, -1]], ahead)
    return _length(points) + float(beyond.sum())


def _distance(mask: Mask) -> NDArray[np.float32]:
    """From each pixel to the nearest background, to 2 %."""
    return np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_5), dtype=np.float32)


def _without_pores(mask: Mask) -> Mask:
    """With holes filled that are too small for their region to be a ring.

    A hole over a third of a disc's diameter has an eighth of the area around it: from there on the hole is
    wider than what surrounds it.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(1 - mask, connectivity=4)
    if count == 2:  # the region and what is around it
        return mask
    areas = stats[:, cv2.CC_STAT_AREA]
    pores = 8 * areas < cv2.countNonZero(mask)
    pores[[0, labels[0, 0]]] = False
    return np.asarray(mask | pores[labels], dtype=np.uint8)


def _smaller(mask: Mask, scale: int) -> Mask:
    """The mask at 1 / scale, with one more pixel of frame; itself for 1."""
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
    """The (y, x) of the path of greatest length and END_WEIGHT times the radius at both ends, float [N, 2].

    In the tree of shortest ways from one pixel, which opens each loop opposite to where it is entered.
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
    """How far the outline is from points within, (y, x), to a quarter of a pixel; [N, 2] to [N].

    The radius tells how far to look: an end that tapers more slowly the axis follows by itself.
    """
    reach = np.arange(0, 4 * radius + 4, STEP)
    unit = ahead / np.hypot(*ahead.T)[:, None]
    at = np.rint(starts[:, None] + reach[:, None] * unit[:, None]).astype(int)
    at = np.clip(at, 0, np.array(mask.shape) - 1)  # the frame, which is background
    outside = mask[at[..., 0], at[..., 1]] == 0
    outside[:, -1] = True
    return np.asarray(reach[outside.argmax(axis=1)] - STEP / 2)


def inscribed_width(mask: Mask) -> float:
    """Diameter in px of the largest circle within a region; `mask` as for `axis_length`.

    Measured on a softened and finer copy of the widest place, since the steps of a slanting outline reach
    into the circle. Made finer, any whole width is even, and the distance half of it; where it is not made
    finer, it may be odd.
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
    """Take the steps of pixels out of a path [N, 2], leaving its ends and sharp turns where they are.

    Moving means shorten a curve of radius R by their variance over 2 R^2; what they took away, smoothed in
    turn and put back, restores that (twicing: Tukey, Exploratory Data Analysis, 1977).
    """
    bounds = [0, *_sharp_turns(points), len(points) - 1]
    pieces = [_twiced(points[start : end + 1])[:-1] for start, end in pairwise(bounds)]
    return np.concatenate((*pieces, points[-1:]))


def _twiced(points: Floats) -> Floats:
    means = _moving_means(points)
    return means + _moving_means(points - means)


def _sharp_turns(points: Floats) -> list[int]:
    """Where the way to the point TURN_REACH before and the way to that after it are SHARP_TURN apart or less.

    The sharpest of those that are near each other.
    """
    if len(points) <= 2 * TURN_REACH:
        return []
    steps = points[TURN_REACH:] - points[:-TURN_REACH]
    steps = steps / np.hypot(*steps.T)[:, None]
    straight = (steps[:-TURN_REACH] * steps[TURN_REACH:]).sum(axis=1)  # the cosine of the turn
    found: list[int] = []
    for i in np.argsort(straight, kind="stable").tolist():
        if straight[i] > SHARP_TURN:
            break
        if all(abs(i + TURN_REACH - other) > TURN_REACH for other in found):
            found.append(i + TURN_REACH)
    return sorted(found)


def _moving_means(points: Floats) -> Floats:
    """The means of up to SMOOTHING points to either side, mirrored through the ends."""
    n = min(SMOOTHING, len(points) - 1)
    if n < 1:
        return points
    before, after = 2 * points[0] - points[n:0:-1], 2 * points[-1] - points[-2 : -n - 2 : -1]
    sums = np.cumsum(np.concatenate((points[:1] * 0, before, points, after)), axis=0)
    return np.asarray((sums[2 * n + 1 :] - sums[: -2 * n - 1]) / (2 * n + 1))

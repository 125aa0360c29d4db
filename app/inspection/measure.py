"""From a label map to measured defects."""

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.results import Defect

Indices = NDArray[np.intp]

DECIMALS = 3  # of lengths: what OpenCV's single precision holds


def measure(
    label_map: NDArray[np.uint8],
    probability: NDArray[np.uint8] | None,
    classes: tuple[str, ...],
    pixel_pitch_mm: float | None,
) -> tuple[Defect, ...]:
    """Measure every 8-connected region of every class, in class order, the largest first.

    `probability`, uint8 [K, H, W], gives the scores; without it they are 1.0, as for a mask drawn by hand.
    Nothing but the score depends on it, so a label map alone is enough to judge again. `pixel_pitch_mm` is mm
    per pixel; without it the mm fields are None.
    """
    border = label_map.shape
    defects: list[Defect] = []
    for k, name in enumerate(classes, start=1):
        found = []
        for ys, xs in _regions(label_map == k):
            score = 1.0 if probability is None else float(probability[k - 1][ys, xs].max()) / 255
            found.append(_measure_region(name, score, ys, xs, border, pixel_pitch_mm))
        defects += sorted(found, key=lambda each: -each.area_px)
    return tuple(defects)


def _regions(mask: NDArray[np.bool_]) -> list[tuple[Indices, Indices]]:
    """The (ys, xs) of every 8-connected region, each in reading order."""
    if not mask.any():
        return []
    _, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    ys, xs = np.nonzero(mask)
    of = labels[ys, xs]
    order = np.argsort(
        of, kind="stable"
    )  # one sort for all: looking for each region would cost a picture each
    ends = np.flatnonzero(np.diff(of[order])) + 1
    return list(zip(np.split(ys[order], ends), np.split(xs[order], ends), strict=True))


def _measure_region(
    name: str, score: float, ys: Indices, xs: Indices, border: tuple[int, ...], pixel_pitch_mm: float | None
) -> Defect:
    x, y = int(xs.min()), int(ys[0])
    width, height = int(xs.max()) - x + 1, int(ys[-1]) - y + 1
    long_side, short_side = _rectangle(ys - y, xs - x)
    pitch = pixel_pitch_mm
    return Defect(
        defect_class=name,
        score=score,
        area_px=len(ys),
        area_mm2=None if pitch is None else _decimal(len(ys) * pitch**2),
        length_px=long_side,
        length_mm=None if pitch is None else _decimal(long_side * pitch),
        width_px=short_side,
        width_mm=None if pitch is None else _decimal(short_side * pitch),
        bbox=(x, y, width, height),
        centroid=(float(xs.mean()), float(ys.mean())),
        touches_border=x == 0 or y == 0 or x + width == border[1] or y + height == border[0],
    )


def _decimal(value: float) -> float:
    """Without the error of binary fractions, which would put what is exactly at a limit beyond it."""
    return float(f"{value:.9g}")


def _rectangle(ys: Indices, xs: Indices) -> tuple[float, float]:
    """Long and short side of the smallest rotated rectangle around the pixels' corners.

    The first and last pixel of every row span it: whatever lies between them lies inside.
    """
    first = np.flatnonzero(np.diff(ys, prepend=-1))
    last = np.append(first[1:] - 1, len(ys) - 1)
    rows, left, right = ys[first], xs[first], xs[last] + 1
    corners = [np.column_stack((side, row)) for side in (left, right) for row in (rows, rows + 1)]
    _, sides, _ = cv2.minAreaRect(np.concatenate(corners).astype(np.float32))
    return round(max(sides), DECIMALS), round(min(sides), DECIMALS)

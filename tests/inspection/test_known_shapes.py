"""Lengths, widths and areas of shapes of known size, at several scales, turned and moved on the pixel grid.

`python -m tests.inspection.test_known_shapes` prints the errors that docs/measurement.md states.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from app.inspection.measuring.measure import measure
from app.inspection.measuring.outlines import enclosed_area, outlines
from app.inspection.results import Defect
from tests.inspection.shapes import (
    Shape,
    arc,
    bar,
    disc,
    ellipse,
    l_shape,
    ring,
    rounded_bar,
    s_curve,
    zigzag,
)

PLACES = 12  # ways each shape lies: the first four upright, at 45 degrees, upright again, and hardly turned

# Shape, length and width in px; the largest errors allowed of the length's worst case in px and of the area
# within the sub-pixel outline in its worst case, in %. Means of area are held to 2 % for all, and those of
# length for all but zigzags, whose corners pixels fill.
CASES: list[tuple[Callable[[float, float], Shape], float, float, float, float]] = [
    (bar, 13, 3, 1.3, 4),
    (bar, 13, 6, 1.3, 2.2),
    (bar, 24, 3, 1.7, 4),
    (bar, 48, 8, 1.3, 2),
    (bar, 96, 6, 1.3, 2.5),
    (bar, 96, 48, 1.3, 2),
    (rounded_bar, 13, 5, 1.3, 2.5),
    (rounded_bar, 24, 8, 1.3, 2),
    (rounded_bar, 96, 6, 1.3, 2.5),
    (ellipse, 14, 8, 1.3, 2),
    (ellipse, 24, 8, 1.3, 2),
    (ellipse, 48, 40, 1.3, 2),
    (ellipse, 96, 24, 1.3, 2),
    (disc, 13, 13, 1.3, 2),
    (disc, 24, 24, 1.3, 2),
    (disc, 96, 96, 1.3, 2),
    (ring, 48, 3, 1.5, 2),
    (ring, 96, 8, 1.5, 2),
    (arc, 48, 3, 2.0, 2),
    (arc, 96, 6, 2.5, 2),
    (s_curve, 60, 3, 2.0, 2),
    (s_curve, 96, 6, 2.0, 2),
    (l_shape, 48, 3, 2.0, 2.5),
    (l_shape, 96, 8, 2.0, 2),
    (zigzag, 168, 1.5, 12.5, 2),
    (zigzag, 168, 3, 12.5, 2),
    (zigzag, 168, 6, 12.5, 2),
]


def placed(shape: Shape) -> Iterator[NDArray[np.float64]]:
    """The shape's coverage as it lies in each of its places."""
    random = np.random.default_rng(7)
    angles = [0, math.pi / 4, math.pi / 2, 0.1, *random.uniform(0, math.pi, PLACES - 4)]
    for angle in angles:
        x, y = random.uniform(-0.5, 0.5, 2)
        yield shape.coverage(angle, (x, y))


def measured(shape: Shape) -> tuple[list[Defect], list[float]]:
    """The defect that each placing gives at half coverage, and the area within its sub-pixel outline."""
    defects, areas = [], []
    for coverage in placed(shape):
        probability = np.rint(coverage * 255).astype(np.uint8)
        mask = probability >= 128
        (defect,) = measure(mask.astype(np.uint8), None, ("drawn",), None)
        defects.append(defect)
        areas.append(enclosed_area(outlines(probability, mask, 128 / 255)))
    return defects, areas


def errors(values: list[float], truth: float) -> tuple[float, float]:
    """The mean, and the largest, of how far values are from the truth, in %."""
    off = (np.array(values) / truth - 1) * 100
    return float(off.mean()), float(abs(off).max())


@pytest.mark.parametrize(
    ("kind", "length", "width", "worst_length", "worst_outline"),
    CASES,
    ids=[f"{kind.__name__}-{length}-{width}" for kind, length, width, *_ in CASES],
)
def test_known_shape(
    kind: Callable[[float, float], Shape],
    length: float,
    width: float,
    worst_length: float,
    worst_outline: float,
) -> None:
    shape = kind(length, width)
    defects, areas = measured(shape)
    mean, worst = errors([each.length_px for each in defects], shape.length)
    assert abs(mean) <= (6 if kind is zigzag else 2)
    assert worst / 100 * shape.length <= worst_length
    assert abs(errors([each.area_px for each in defects], shape.area)[0]) <= 2
    assert errors(areas, shape.area)[1] <= worst_outline
    widths = np.array([each.width_px for each in defects]) - shape.width
    assert abs(widths.mean()) <= 1.4
    assert abs(widths).max() <= 1.8
    for each in defects:
        assert each.mean_width_px == pytest.approx(each.area_px / each.length_px, abs=2e-3)
        assert each.equivalent_diameter_px == pytest.approx(math.sqrt(4 / math.pi * each.area_px), abs=1e-3)


def _print_errors() -> None:
    for kind, length, width, *_ in CASES:
        shape = kind(length, width)
        defects, areas = measured(shape)
        found = [
            errors([each.length_px for each in defects], shape.length),
            errors([float(each.area_px) for each in defects], shape.area),
            errors(areas, shape.area),
        ]
        widths = np.array([each.width_px for each in defects]) - shape.width
        cells = [f"{mean:+.1f} | {worst:.1f}" for mean, worst in found]
        cells.append(f"{widths.mean():+.1f} | {abs(widths).max():.1f}")
        print(f"| {kind.__name__.replace('_', ' ')} {length} x {width} | {' | '.join(cells)} |")


if __name__ == "__main__":
    _print_errors()

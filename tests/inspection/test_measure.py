"""Known shapes are measured rightly."""

import math
import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.inspection.measure import measure

CLASSES = ("crack", "pore")


def empty(height: int = 100, width: int = 120) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return np.zeros((height, width), dtype=np.uint8)


def test_nothing_is_no_defect() -> None:
    assert measure(empty(), None, CLASSES, 0.1) == ()


def test_single_pixel_is_one_by_one() -> None:
    label_map = empty()
    label_map[7, 5] = 1
    (defect,) = measure(label_map, None, CLASSES, None)
    assert (defect.defect_class, defect.score, defect.area_px) == ("crack", 1.0, 1)
    assert (defect.length_px, defect.width_px) == (1.0, 1.0)
    assert (defect.bbox, defect.centroid) == ((5, 7, 1, 1), (5.0, 7.0))
    assert defect.area_mm2 is defect.length_mm is defect.width_mm is None
    assert not defect.touches_border


def test_what_is_exactly_at_a_limit_in_mm_is_not_beyond_it() -> None:
    label_map = empty()
    label_map[10:15, 10:15] = 1
    (defect,) = measure(label_map, None, CLASSES, 0.05)
    assert (defect.area_mm2, defect.length_mm) == (0.0625, 0.25)


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 50), st.integers(1, 60), st.integers(1, 50))
def test_upright_rectangle(x: int, y: int, width: int, height: int) -> None:
    label_map = empty()
    label_map[y : y + height, x : x + width] = 2
    (defect,) = measure(label_map, None, CLASSES, 0.5)
    assert defect.defect_class == "pore"
    assert defect.area_px == width * height
    assert defect.length_px == pytest.approx(max(width, height), abs=2e-3)
    assert defect.width_px == pytest.approx(min(width, height), abs=2e-3)
    assert defect.bbox == (x, y, width, height)
    assert defect.centroid == (x + (width - 1) / 2, y + (height - 1) / 2)
    assert defect.touches_border == (x == 0 or y == 0 or x + width == 120 or y + height == 100)
    assert defect.area_mm2 == pytest.approx(defect.area_px * 0.25)
    assert defect.length_mm == pytest.approx(defect.length_px * 0.5)
    assert defect.width_mm == pytest.approx(defect.width_px * 0.5)


@settings(deadline=None)
@given(st.floats(20, 90), st.floats(3, 15), st.floats(0, 180))
def test_turned_rectangle_measures_the_same(length: float, width: float, angle: float) -> None:
    label_map = empty(140, 140)
    ys, xs = np.mgrid[0:140, 0:140]
    turn = math.radians(angle)
    along = (xs - 70) * math.cos(turn) + (ys - 70) * math.sin(turn)
    across = -(xs - 70) * math.sin(turn) + (ys - 70) * math.cos(turn)
    label_map[(abs(along) <= length / 2) & (abs(across) <= width / 2)] = 1
    (defect,) = measure(label_map, None, CLASSES, None)
    assert defect.length_px == pytest.approx(max(length, width), abs=2.5)
    assert defect.width_px == pytest.approx(min(length, width), abs=2.5)


def test_disc() -> None:
    label_map = empty()
    cv2.circle(label_map, (60, 50), 20, 1, -1)
    (defect,) = measure(label_map, None, CLASSES, None)
    assert defect.area_px == pytest.approx(math.pi * 20**2, rel=0.03)
    assert defect.length_px == pytest.approx(41, abs=1.5)
    assert defect.centroid == pytest.approx((60, 50))


def test_diagonal_neighbours_are_one_defect_and_classes_are_apart() -> None:
    label_map = empty()
    label_map[10, 10] = label_map[11, 11] = 1
    label_map[12, 12] = 2
    first, second = measure(label_map, None, CLASSES, None)
    assert (first.defect_class, first.area_px) == ("crack", 2)
    assert first.length_px == pytest.approx(2 * math.sqrt(2), abs=2e-3)
    assert first.width_px == pytest.approx(math.sqrt(2), abs=2e-3)
    assert (second.defect_class, second.area_px) == ("pore", 1)


def test_defects_come_by_class_then_largest_first_with_their_own_scores() -> None:
    label_map = empty()
    label_map[0:2, 0:2], label_map[10:20, 10:20], label_map[50:53, 50:53] = 1, 1, 2
    probability = np.zeros((2, 100, 120), dtype=np.uint8)
    probability[0, 0, 1], probability[0, 15, 15], probability[1, 51, 51] = 153, 204, 255
    probability[1, 15, 15] = 250  # another class's, which must not count
    found = measure(label_map, probability, CLASSES, None)
    assert [(each.defect_class, each.area_px) for each in found] == [
        ("crack", 100),
        ("crack", 4),
        ("pore", 9),
    ]
    assert [each.score for each in found] == [0.8, 0.6, 1.0]


def test_ring_counts_its_own_pixels_only() -> None:
    label_map = empty()
    label_map[20:40, 20:40] = 1
    label_map[25:35, 25:35] = 0
    (defect,) = measure(label_map, None, CLASSES, None)
    assert (defect.area_px, defect.length_px, defect.width_px) == (300, 20.0, 20.0)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_every_pixel_belongs_to_exactly_one_defect(seed: int) -> None:
    label_map = np.random.default_rng(seed).choice([0, 0, 0, 1, 2], (40, 50)).astype(np.uint8)
    found = measure(label_map, None, CLASSES, None)
    assert sum(each.area_px for each in found) == np.count_nonzero(label_map)
    for each in found:
        x, y, width, height = each.bbox
        assert each.area_px <= width * height
        assert each.width_px <= each.length_px <= math.hypot(width, height) + 0.01
        assert x <= each.centroid[0] <= x + width - 1
        assert y <= each.centroid[1] <= y + height - 1


def test_noise_of_thousands_of_defects_takes_no_time_per_picture_size() -> None:
    label_map = np.zeros((2000, 2000), dtype=np.uint8)
    label_map[::20, ::20] = 1  # 10,000 regions
    start = time.process_time()  # of this process only: the machine may be busy
    assert len(measure(label_map, None, CLASSES, None)) == 10_000
    assert time.process_time() - start < 20

"""Known shapes are measured rightly."""

import math
import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.inspection.measuring.measure import measure
from tests.inspection.formed import regions_in
from tests.tiny_bundle import region_probability

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
    assert (defect.mean_width_px, defect.equivalent_diameter_px, defect.orientation_deg) == (1.0, 1.128, 0.0)
    assert defect.area_mm2 is defect.length_mm is defect.width_mm is defect.mean_width_mm is None
    assert defect.equivalent_diameter_mm is defect.nearest_px is defect.nearest_mm is None
    assert not defect.touches_border


@pytest.mark.parametrize("side", [1, 5])
def test_it_ends_when_told(side: int) -> None:
    label_map = empty()
    for x, y in np.ndindex(20, 16):
        label_map[6 * y : 6 * y + side, 6 * x : 6 * x + side] = 1
    measure(label_map, None, CLASSES, None, ([None] * 2000).pop)
    with pytest.raises(IndexError, match="pop from empty list"):
        measure(label_map, None, CLASSES, None, ([None] * 300).pop)


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
    assert defect.width_px == pytest.approx(min(width, height), abs=2e-3 if min(width, height) < 31 else 0.5)
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
    # of 74,000 at random the worst were 3.5 and 1.1 off
    assert defect.length_px == pytest.approx(max(length, width), abs=4)
    assert defect.width_px == pytest.approx(min(length, width), abs=1.5)


def test_disc() -> None:
    label_map = empty()
    cv2.circle(label_map, (60, 50), 20, 1, -1)
    (defect,) = measure(label_map, None, CLASSES, None)
    assert defect.area_px == pytest.approx(math.pi * 20**2, rel=0.03)
    assert defect.length_px == pytest.approx(math.sqrt(4 / math.pi * defect.area_px), abs=0.5)
    assert defect.width_px == pytest.approx(41, abs=1.5)
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
    highest = np.zeros((100, 120), dtype=np.uint8)
    highest[0, 1], highest[15, 15], highest[51, 51] = 153, 204, 255
    highest[15, 20] = 250  # beside a defect, which must not count
    found = measure(label_map, regions_in(label_map, highest), CLASSES, None)
    assert [(each.defect_class, each.area_px) for each in found] == [
        ("crack", 100),
        ("crack", 4),
        ("pore", 9),
    ]
    assert [each.score for each in found] == [0.8, 0.6, 1.0]
    probabilities = [region_probability(each.score) for each in found]
    assert [each.probability for each in found] == pytest.approx(probabilities)
    assert {each.runner_up for each in found} == {None}
    by_hand = measure(label_map, None, CLASSES, None)
    assert {(each.score, each.probability, each.runner_up) for each in by_hand} == {(1.0, None, None)}


def test_ring_counts_its_own_pixels_only_and_is_as_long_as_the_way_round() -> None:
    label_map = empty()
    cv2.circle(label_map, (60, 50), 22, 1, -1)
    cv2.circle(label_map, (60, 50), 15, 0, -1)
    (defect,) = measure(label_map, None, CLASSES, None)
    assert defect.area_px == np.count_nonzero(label_map)
    assert defect.length_px == pytest.approx(math.tau * 18.8, rel=0.03)
    assert defect.mean_width_px == pytest.approx(7, rel=0.05)
    assert defect.width_px == pytest.approx(7, abs=1)


def test_a_pore_in_a_blob_makes_it_no_ring() -> None:
    label_map = empty()
    cv2.ellipse(label_map, (60, 50), (40, 12), 0, 0, 360, 1, -1)
    label_map[60:80, 40:44] = 1  # an arm, so that the skeleton is asked
    (whole,) = measure(label_map, None, CLASSES, None)
    label_map[46:51, 58:63] = 0
    (holed,) = measure(label_map, None, CLASSES, None)
    assert holed.area_px == whole.area_px - 25
    assert holed.length_px == whole.length_px < 100


@pytest.mark.parametrize("thickness", [1, 2, 3, 5])
def test_a_branch_does_not_lengthen_a_crack(thickness: int) -> None:
    label_map = empty()
    cv2.line(label_map, (10, 50), (110, 50), 1, thickness)
    (plain,) = measure(label_map, None, CLASSES, None)
    cv2.line(label_map, (60, 50), (60, 75), 1, thickness)
    (branched,) = measure(label_map, None, CLASSES, None)
    assert branched.length_px == pytest.approx(plain.length_px, abs=1.5)
    assert branched.mean_width_px > plain.mean_width_px


def test_a_crack_one_pixel_wide_is_as_long_as_its_way() -> None:
    label_map = empty()
    cv2.polylines(label_map, [np.array([[10, 10], [60, 10], [60, 60], [110, 60]])], False, 1)
    (defect,) = measure(label_map, None, CLASSES, None)
    assert defect.length_px == pytest.approx(151, rel=0.02)
    assert defect.width_px == 1.0


def test_a_spike_counts_to_its_tip() -> None:
    label_map = empty()
    cv2.fillPoly(label_map, [np.array([[10, 40], [10, 60], [110, 50]])], 1)
    (defect,) = measure(label_map, None, CLASSES, None)
    assert defect.length_px == pytest.approx(101, abs=3)


@pytest.mark.parametrize("degrees", range(0, 180, 15))
def test_orientation_is_counter_clockwise_from_the_x_axis(degrees: int) -> None:
    label_map = empty()
    along = np.array([math.cos(math.radians(degrees)), -math.sin(math.radians(degrees))]) * 40
    start, end = (np.rint((60, 50) + side * along).astype(int).tolist() for side in (-1, 1))
    cv2.line(label_map, start, end, 1, 3)
    (defect,) = measure(label_map, None, CLASSES, None)
    assert (defect.orientation_deg - degrees + 90) % 180 - 90 == pytest.approx(0, abs=1.5)
    assert 0 <= defect.orientation_deg < 180


def test_nearest_is_the_gap_to_any_other_defect() -> None:
    label_map = empty()
    label_map[10:20, 10:20], label_map[10:20, 24:30], label_map[60:62, 30:40] = 1, 2, 1
    label_map[23, 33] = 2
    found = measure(label_map, None, CLASSES, 0.5)
    assert [each.nearest_px for each in found] == [4.0, 36.0, 4.0, 4.243]
    assert [each.nearest_mm for each in found] == [2.0, 18.0, 2.0, 2.1215]
    label_map[20:24, 10:20] = 2
    touching = measure(label_map, None, CLASSES, None)
    assert touching[0].nearest_px == 0.0


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_every_pixel_belongs_to_exactly_one_defect(seed: int) -> None:
    label_map = np.random.default_rng(seed).choice([0, 0, 0, 1, 2], (40, 50)).astype(np.uint8)
    found = measure(label_map, None, CLASSES, None)
    assert sum(each.area_px for each in found) == np.count_nonzero(label_map)
    for each in found:
        x, y, width, height = each.bbox
        assert each.area_px <= width * height
        assert 0 < each.width_px <= each.length_px <= each.area_px * math.sqrt(2) + 0.01
        assert each.width_px <= math.hypot(width, height) + 0.01
        assert x <= each.centroid[0] <= x + width - 1
        assert y <= each.centroid[1] <= y + height - 1


def test_noise_of_thousands_of_defects_takes_no_time_per_picture_size() -> None:
    label_map = np.zeros((2000, 2000), dtype=np.uint8)
    label_map[::20, ::20] = 1  # 10,000 regions
    start = time.process_time()  # of this process only: the machine may be busy
    assert len(measure(label_map, None, CLASSES, None)) == 10_000
    assert time.process_time() - start < 20


def test_the_last_pixel_of_the_picture_has_its_score() -> None:
    label_map, highest = empty(), np.zeros((100, 120), dtype=np.uint8)
    label_map[98:, 117:] = 1
    highest[99, 119] = 204
    assert [each.score for each in measure(label_map, regions_in(label_map, highest), CLASSES, None)] == [0.8]
    label_map[:] = 0
    label_map[99, 119] = 1
    assert [each.score for each in measure(label_map, regions_in(label_map, highest), CLASSES, None)] == [0.8]

"""Which pixels are marked, and of which class."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inspection.measuring.mask import MaskAccumulator, marks_of, pixel_level
from tests.inspection.formed import point


@pytest.mark.parametrize(
    ("threshold", "lowest"), [(0.5, 128), (0.2, 51), (1.0, 255), (0.001, 1), (128 / 255, 128)]
)
def test_pixel_threshold_is_a_level(threshold: float, lowest: int) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    label_map = marks_of(levels, point(threshold)).label_map
    np.testing.assert_array_equal(label_map.ravel(), np.arange(256) >= lowest)
    assert pixel_level(threshold) == lowest


@given(st.integers(1, 255))
def test_threshold_chosen_as_a_level_is_that_level(level: int) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    assert np.count_nonzero(marks_of(levels, point(level / 255)).label_map) == 256 - level


def test_most_probable_class_wins_and_the_first_of_equals() -> None:
    probability = np.array([[[200, 200, 150, 0]], [[190, 210, 150, 130]]], dtype=np.uint8)
    marks = marks_of(probability, point())
    np.testing.assert_array_equal(marks.label_map, [[1, 2, 1, 2]])
    np.testing.assert_array_equal(marks.highest, [[200, 210, 150, 130]])


def test_highest_probability_is_kept_below_the_threshold_too() -> None:
    marks = marks_of(np.array([[[20, 90]], [[60, 10]]], dtype=np.uint8), point())
    assert not marks.label_map.any()
    np.testing.assert_array_equal(marks.highest, [[60, 90]])


def test_parts_add_up_to_the_whole() -> None:
    planes = np.random.default_rng(1).integers(0, 256, (3, 20, 30), dtype=np.uint8)
    whole, parts = marks_of(planes, point()), MaskAccumulator((20, 30), point())
    for rows in (slice(0, 7), slice(7, 20)):
        for columns in (slice(0, 11), slice(11, 30)):
            for k, levels in enumerate(planes):
                parts.add(k, (rows, columns), levels[rows, columns])
    np.testing.assert_array_equal(parts.label_map, whole.label_map)
    np.testing.assert_array_equal(parts.highest, whole.highest)

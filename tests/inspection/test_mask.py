"""Thresholds, overlaps and small regions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inspection import mask, runs
from app.inspection.artifact import OperatingPoint
from app.inspection.mask import to_label_map


def point(pixel: float = 0.5, image: float = 0.5, area: int = 0) -> OperatingPoint:
    return OperatingPoint(image_threshold=image, pixel_threshold=pixel, min_area_px=area)


def test_head_below_its_threshold_empties_the_mask() -> None:
    probability = np.full((1, 8, 8), 255, dtype=np.uint8)
    assert not to_label_map(probability, 0.49, point()).any()
    assert to_label_map(probability, 0.5, point()).all()


@pytest.mark.parametrize(
    ("threshold", "lowest"), [(0.5, 128), (0.2, 51), (1.0, 255), (0.001, 1), (128 / 255, 128)]
)
def test_pixel_threshold_is_a_level(threshold: float, lowest: int) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    label_map = to_label_map(levels, 1.0, point(threshold))
    np.testing.assert_array_equal(label_map.ravel(), np.arange(256) >= lowest)


@given(st.integers(1, 255))
def test_threshold_chosen_as_a_level_is_that_level(level: int) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    assert np.count_nonzero(to_label_map(levels, 1.0, point(level / 255))) == 256 - level


def test_most_probable_class_wins_and_the_first_of_equals() -> None:
    probability = np.array([[[200, 200, 150, 0]], [[190, 210, 150, 130]]], dtype=np.uint8)
    np.testing.assert_array_equal(to_label_map(probability, 1.0, point()), [[1, 2, 1, 2]])


def test_small_regions_are_dropped_by_class_and_diagonals_connect() -> None:
    probability = np.zeros((2, 8, 8), dtype=np.uint8)
    probability[0, 0, 0] = probability[0, 1, 1] = probability[0, 2, 2] = 255  # three, diagonally
    probability[0, 6, 6] = 255  # one
    probability[1, 6, 7] = 255  # its neighbour, of another class
    label_map = to_label_map(probability, 1.0, point(area=3))
    assert np.count_nonzero(label_map) == 3
    assert label_map[1, 1] == 1
    assert np.count_nonzero(to_label_map(probability, 1.0, point(area=4))) == 0
    assert np.count_nonzero(to_label_map(probability, 1.0, point(area=1))) == 5


def test_specks_are_dropped_whatever_band_they_lie_in(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    levels = ((rng.random((2, 60, 40)) < 0.3) * 200).astype(np.uint8)
    expected = to_label_map(levels, 1.0, point(area=12))
    assert 0 < np.count_nonzero(expected) < np.count_nonzero(levels.max(axis=0))
    for size in (1, 80, 500):
        monkeypatch.setattr(runs, "BAND_PX", size)
        monkeypatch.setattr(mask, "BAND_PX", size)
        np.testing.assert_array_equal(to_label_map(levels, 1.0, point(area=12)), expected)

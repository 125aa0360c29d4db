"""Class bits keep what is thin when they are made smaller."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from training.data.pictures import resize_bits

SCALES = (0.75, 0.5, 0.4, 0.25)
DRAWS = 500


def _smaller(bits: NDArray[np.uint16], scale: float) -> NDArray[np.uint16]:
    return resize_bits(bits, (round(bits.shape[0] * scale), round(bits.shape[1] * scale)))


@pytest.mark.parametrize("scale", SCALES)
def test_3_px_dots_and_lines_survive_wherever_they_are(scale: float) -> None:
    rng = np.random.default_rng(1)
    lost_by_nearest = 0
    for _ in range(DRAWS // len(SCALES)):
        bits = np.zeros((200, 240), np.uint16)
        y, x = rng.integers(5, 190, 2)
        bits[y : y + 3, x : x + 3] = 0x8000
        start, end = rng.integers(5, 190, 2).tolist(), rng.integers(5, 190, 2).tolist()
        line = np.zeros_like(bits)
        cv2.line(line, start, end, 1, 1)
        small = _smaller(bits | line, scale)
        assert (small & 0x8000).any()
        assert (small & 1).any()
        pieces = cv2.connectedComponents((small & 1).astype(np.uint8), connectivity=8)[0] - 1
        assert pieces == 1
        size = small.shape[::-1]
        nearest = np.asarray(cv2.resize(bits, size, interpolation=cv2.INTER_NEAREST), np.uint16)
        lost_by_nearest += not (nearest & 0x8000).any()
    if scale == 0.25:
        assert lost_by_nearest > 0  # what this is for


@pytest.mark.parametrize("scale", SCALES)
def test_a_dot_is_seen_where_it_is_labelled(scale: float) -> None:
    rng = np.random.default_rng(2)
    for _ in range(40):
        bits, pixels = np.zeros((200, 240), np.uint16), np.full((200, 240), 200, np.uint8)
        y, x = rng.integers(5, 190, 2)
        bits[y : y + 3, x : x + 3], pixels[y : y + 3, x : x + 3] = 1, 80
        small = _smaller(bits, scale)
        shrunk = cv2.resize(pixels, small.shape[::-1], interpolation=cv2.INTER_AREA)
        assert shrunk[small > 0].max() < 200
        assert shrunk[small > 0].min() == shrunk.min() < 190


@pytest.mark.parametrize("scale", SCALES)
def test_regions_keep_their_area(scale: float) -> None:
    bits = np.zeros((200, 240), np.uint16)
    cv2.circle(bits, (101, 97), 40, 2, -1)
    found = np.count_nonzero(_smaller(bits, scale)) / scale**2
    assert found == pytest.approx(np.count_nonzero(bits), rel=0.04)


def test_overlapping_classes_are_resized_each_by_itself() -> None:
    bits = np.zeros((200, 240), np.uint16)
    bits[40:120, 40:120] |= 1
    bits[80:160, 80:160] |= 1 << 15
    small = _smaller(bits, 0.5)
    expected = np.zeros((100, 120), np.uint16)
    expected[20:60, 20:60] |= 1
    expected[40:80, 40:80] |= 1 << 15
    np.testing.assert_array_equal(small, expected)


def test_enlarging_repeats_pixels() -> None:
    bits = np.random.default_rng(0).integers(0, 2**16, (20, 30)).astype(np.uint16)
    np.testing.assert_array_equal(resize_bits(bits, (40, 60)), bits.repeat(2, axis=0).repeat(2, axis=1))


def test_an_empty_mask_stays_empty() -> None:
    assert not resize_bits(np.zeros((50, 60), np.uint16), (20, 30)).any()

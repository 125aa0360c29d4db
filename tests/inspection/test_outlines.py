"""Outlines finer than pixels."""

import cv2
import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.inspection.measuring.outlines import enclosed_area, outlines


def test_no_mask_has_no_outline() -> None:
    assert outlines(np.zeros((4, 5), np.uint8), np.zeros((4, 5), bool), 0.5) == ()
    assert enclosed_area(()) == 0


def test_an_edge_lies_where_the_probability_crosses_the_threshold() -> None:
    probability = np.zeros((5, 9), np.uint8)
    probability[:, 2:6] = 255
    probability[:, 6] = 100
    (outline,) = outlines(probability, probability >= 128, 128 / 255)
    assert outline[:, 0].max() == pytest.approx(5 + (255 - 127.5) / (255 - 100))
    assert outline[:, 0].min() == pytest.approx(1.5)


def test_a_hole_is_taken_off_and_runs_the_other_way() -> None:
    probability = np.zeros((40, 40), np.uint8)
    cv2.circle(probability, (20, 20), 15, 255, -1, cv2.LINE_AA)
    cv2.circle(probability, (20, 20), 6, 0, -1, cv2.LINE_AA)
    found = outlines(probability, probability >= 128, 128 / 255)
    assert sorted(np.sign(enclosed_area([each])) for each in found) == [-1, 1]
    assert enclosed_area(found) == pytest.approx(np.pi * (15.5**2 - 6.5**2), rel=0.05)


@settings(deadline=None)
@given(
    arrays.arrays(np.uint8, (9, 11), elements=st.sampled_from([0, 60, 127, 128, 200, 255])),
    arrays.arrays(np.bool_, (9, 11)),
)
def test_outlines_go_between_the_mask_and_the_rest(
    probability: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> None:
    found = outlines(probability, mask, 128 / 255)
    fine = np.zeros((9 * 16, 11 * 16), np.uint8)
    shifted = [np.rint((each + 0.5) * 16 * 16 - 8).astype(np.int32) for each in found]
    cv2.fillPoly(fine, shifted, 1, shift=4)
    middles = fine[8::16, 8::16] | fine[7::16, 7::16]
    sure = (probability < 60) | (probability > 200)  # others' outlines pass through their very middle
    assert np.array_equal(middles[sure & mask], np.ones((sure & mask).sum()))
    holes = mask.size - mask.sum()
    count = cv2.connectedComponents(np.pad(mask, 1).astype(np.uint8), connectivity=8)[0] - 1
    around = cv2.connectedComponents(1 - np.pad(mask, 1).astype(np.uint8), connectivity=4)[0] - 2
    assert len(found) == count + around
    assert holes >= around

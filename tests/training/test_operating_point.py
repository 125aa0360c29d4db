"""Thresholds and intervals."""

import numpy as np
import pytest

from training.config import OperatingPointConfig
from training.operating_point import OperatingPointError, Scored, choose, interval


def _scored(image_probability: float, level: int, defective: bool) -> Scored:
    bits = np.zeros((32, 32), np.uint16)
    probability = np.full((1, 32, 32), 10, np.uint8)
    if defective:
        bits[4:12, 4:12] = 1
        probability[0, 4:12, 4:12] = level
        probability[0, 4:12, 12:14] = 100  # a halo that a low threshold would take in
    return Scored(probability, image_probability, bits, defective, group="part")


def test_thresholds_separate_what_is_separable() -> None:
    scored = [_scored(p, 200, defective=True) for p in (0.7, 0.8, 0.9)]
    scored += [_scored(p, 0, defective=False) for p in (0.1, 0.2, 0.3)]
    point = choose(scored, OperatingPointConfig())
    assert 0.3 < point.image_threshold < 0.7
    assert 100 / 255 < point.pixel_threshold <= 200 / 255
    assert point.expected is not None
    assert (point.expected.escape_rate, point.expected.overkill_rate) == (0, 0)
    assert point.expected.escape_interval[1] == pytest.approx(1 - 0.025 ** (1 / 3))  # no escape of three


def test_beta_moves_the_image_threshold() -> None:
    scored = [_scored(p, 200, defective=True) for p in (0.25, 0.8, 0.85, 0.9)]
    scored += [_scored(p, 0, defective=False) for p in (0.1, 0.15, 0.3, 0.35, 0.4)]
    careful = choose(scored, OperatingPointConfig(beta=4)).image_threshold
    balanced = choose(scored, OperatingPointConfig(beta=0.5)).image_threshold
    assert careful < 0.25 < 0.4 < balanced


@pytest.mark.parametrize("defective", [True, False])
def test_one_kind_of_picture_is_not_enough(defective: bool) -> None:
    with pytest.raises(OperatingPointError, match="calibration split"):
        choose([_scored(0.5, 200, defective) for _ in range(4)], OperatingPointConfig())


def test_head_that_knows_nothing_is_refused() -> None:
    scored = [_scored(0.5, 200, defective) for defective in (True, False)]
    with pytest.raises(OperatingPointError, match="the same"):
        choose(scored, OperatingPointConfig())


def test_interval_is_clopper_pearson() -> None:
    # The textbook case: 8 of 10 at 95 % gives 0.444 to 0.975.
    assert interval(8, 10, 0.95) == pytest.approx((0.4439, 0.9748), abs=1e-4)

"""Thresholds of the mask and of the picture."""

from itertools import product

import cv2
import numpy as np
import pytest

from app.inspection.artifact import OperatingPoint
from app.inspection.mask import to_label_map
from app.inspection.mask_metrics import dice
from training.config import OperatingPointConfig
from training.operating_point import (
    MIN_AREAS_PX,
    PIXEL_THRESHOLDS,
    OperatingPointError,
    Scored,
    choose,
)


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


def test_mask_thresholds_are_those_with_the_best_mean_dice_of_label_maps() -> None:
    rng = np.random.default_rng(4)
    scored = [Scored(np.zeros((2, 48, 48), np.uint8), 0.1, np.zeros((48, 48), np.uint16), False, "good")]
    for number in range(4):
        noise = cv2.GaussianBlur(rng.normal(0, 1, (48, 48, 2)), (0, 0), 1.5)
        probability = np.moveaxis(np.clip(90 + 150 * noise, 0, 255), 2, 0).astype(np.uint8)
        bits = np.zeros((48, 48), np.uint16)
        bits[10:30, 10:22] = 1 + number % 2
        probability[number % 2, 10:30, 10:22] |= 64
        scored.append(Scored(probability, 0.9, bits, True, f"part {number}"))

    def mean_dice(choice: tuple[float, int]) -> float:
        point = OperatingPoint(image_threshold=1.0, pixel_threshold=choice[0], min_area_px=choice[1])
        maps = [(to_label_map(each.probability, 1.0, point), each.bits) for each in scored if each.defective]
        return float(np.mean([dice(found > 0, bits > 0) for found, bits in maps if bits is not None]))

    best = max(product(PIXEL_THRESHOLDS, MIN_AREAS_PX), key=mean_dice)
    point = choose(scored, OperatingPointConfig())
    assert (point.pixel_threshold, point.min_area_px) == best
    assert best[1] > 0  # or the least area would not have been tried


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

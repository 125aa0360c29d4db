"""Thresholds and region model, chosen on scored images."""

import cv2
import numpy as np
import pytest

from app.inspection.mask_metrics import dice
from app.inspection.measuring.mask import pixel_level
from training.config import OperatingPointConfig
from training.thresholds.operating_point import PIXEL_THRESHOLDS, OperatingPointError, choose, label_map
from training.thresholds.predictions import Scored
from training.thresholds.region_fit import UNFITTED, fit_region_model, held_out_probability, region_table

from .scored import scored


def _square(level: int, defective: bool, head: float = 0.5, group: str = "part") -> Scored:
    """A region of 8 x 8 px, marked if defective, with a halo that a low threshold takes in."""
    bits = np.zeros((32, 32), np.uint16)
    probability = np.full((1, 32, 32), 10, np.uint8)
    probability[0, 4:12, 4:12] = level
    if defective:
        bits[4:12, 4:12] = 1
        probability[0, 4:12, 12:14] = min(level, 100)
    return scored(probability, bits, defective, group, head)


def _spread(seed: int = 0, count: int = 60) -> list[Scored]:
    """Images whose regions of defects are mostly, not always, more probable than those of good parts."""
    rng = np.random.default_rng(seed)
    kinds = [bool(number % 2) for number in range(count)]
    levels = [int(np.clip(rng.normal(210 if kind else 160, 25), 131, 255)) for kind in kinds]
    return [
        _square(level, kind, group=f"part {number}")
        for number, (level, kind) in enumerate(zip(levels, kinds, strict=True))
    ]


def test_thresholds_separate_what_is_separable() -> None:
    images = [_square(level, True) for level in (200, 220, 240)]
    images += [_square(level, False) for level in (30, 20, 60)]
    point = choose(images, OperatingPointConfig()).point
    assert 100 / 255 < point.pixel_threshold <= 200 / 255
    assert point.regions == UNFITTED  # six images are too few to fit one
    for each in images:
        assert label_map(each, point).any() == each.defective
    assert point.expected is not None
    assert (point.expected.escape_rate, point.expected.overkill_rate) == (0, 0)
    assert point.expected.escape_interval[1] == pytest.approx(1 - 0.025 ** (1 / 3))  # no escape of three


def test_pixel_threshold_has_the_best_mean_dice_of_all_regions() -> None:
    rng = np.random.default_rng(4)
    images = [_square(30, False, group="good")]
    for number in range(4):
        noise = cv2.GaussianBlur(rng.normal(0, 1, (48, 48, 2)), (0, 0), 1.5)
        probability = np.moveaxis(np.clip(90 + 150 * noise, 0, 255), 2, 0).astype(np.uint8)
        bits = np.zeros((48, 48), np.uint16)
        bits[10:30, 10:22] = 1 + number % 2
        probability[number % 2, 10:30, 10:22] |= 64
        images.append(scored(probability, bits, True, f"part {number}"))

    def mean_dice(threshold: float) -> float:
        found = []
        for each in images[1:]:
            called = each.probability.max(axis=0) >= pixel_level(threshold)
            number, labels = cv2.connectedComponents(called.view(np.uint8), connectivity=8)
            large = [k for k in range(1, number) if (labels == k).sum() >= 9]
            assert each.bits is not None
            found.append(dice(np.isin(labels, large), each.bits > 0))
        return float(np.mean(found))

    point = choose(images, OperatingPointConfig()).point
    assert point.pixel_threshold == max(PIXEL_THRESHOLDS, key=mean_dice)
    assert point.min_area_px == 9


def test_region_model_learns_what_tells_defects_from_false_alarms() -> None:
    images = _spread()
    choice = choose(images, OperatingPointConfig())
    assert choice.point.regions.regions == 60
    assert choice.point.regions.groups == 60
    table = region_table(images, choice.point)
    found = fit_region_model(table).probability(table.features)
    assert found[table.defect == 1].mean() > 0.75 > 0.25 > found[table.defect == 0].mean()
    # what an image threshold is chosen on was given by models that had not seen the image
    assert choice.image_probability.tolist() == held_out_probability(table).tolist()
    assert not np.allclose(choice.image_probability, found, atol=1e-3)


def test_groups_stay_whole_when_probabilities_are_held_out() -> None:
    images = _spread(count=60)
    alike = [
        scored(each.probability, each.bits, each.defective, f"part {n // 6}") for n, each in enumerate(images)
    ]
    twice = [*alike, *alike]  # had a copy been seen, its probability would not be that of the first half
    point = choose(images, OperatingPointConfig()).point
    found = held_out_probability(region_table(twice, point))
    assert found[:60] == pytest.approx(found[60:])


def test_an_image_without_regions_has_probability_zero_and_still_counts() -> None:
    images = [_square(level, True) for level in (200, 220)] + [_square(20, False), _square(30, False)]
    images.append(scored(np.zeros((1, 32, 32), np.uint8), np.zeros((32, 32), np.uint16), False))
    choice = choose(images, OperatingPointConfig())
    assert choice.image_probability[-1] == 0
    assert choice.point.expected is not None
    assert choice.point.expected.good == 3


def test_head_alone_stops_what_shows_no_region() -> None:
    images = [_square(level, True, head=0.3) for level in (200, 220, 240)]
    images += [_square(20, False, head) for head in (0.2, 0.3, 0.6)]
    unseen = scored(np.zeros((1, 32, 32), np.uint8), _square(200, True).bits, True, head=0.9)
    choice = choose([*images, unseen], OperatingPointConfig())
    assert 0.6 < choice.point.head_threshold <= 0.9
    assert choice.point.expected is not None
    assert choice.point.expected.escape_rate == 0


def test_beta_moves_the_image_threshold() -> None:
    images = _spread(seed=3)
    careful = choose(images, OperatingPointConfig(beta=4)).point.image_threshold
    balanced = choose(images, OperatingPointConfig(beta=0.5)).point.image_threshold
    assert careful < balanced


@pytest.mark.parametrize("defective", [True, False])
def test_one_kind_of_image_is_not_enough(defective: bool) -> None:
    with pytest.raises(OperatingPointError, match="good and defective"):
        choose([_square(200, defective) for _ in range(4)], OperatingPointConfig())


def test_regions_that_tell_nothing_are_refused() -> None:
    with pytest.raises(OperatingPointError, match="no image threshold separates"):
        choose([_square(200, defective) for defective in (True, False)], OperatingPointConfig())

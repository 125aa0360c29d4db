"""The interval around the estimated Dice: that it keeps its word, and is not stated where it cannot."""

import json
from pathlib import Path

import numpy as np
import pytest

from app.inspection.bundle.artifact import OperatingPoint
from app.inspection.bundle.bundle import Bundle
from app.inspection.bundle.calibration import ProbabilityCalibration
from app.inspection.inspector import Inspector
from tests.tiny_bundle import png, tiny_picture, write_tiny_bundle
from training.evaluation.interval_check import check_interval
from training.files import write_manifest
from training.thresholds.dice_interval import DicePairs, dice_interval, fit_dice_interval
from training.thresholds.predictions import Scored
from training.thresholds.region_fit import UNFITTED

from .scored import scored
from .test_evaluate import compared_pairs


def _pairs(groups: int, pictures: int, seed: int, noise: tuple[float, float] = (0.15, 0.05)) -> DicePairs:
    """Images of parts that err alike, doubtful ones more: standard deviations by part and by image."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), pictures)
    estimated = rng.uniform(0.2, 0.95, groups)[group]
    by_part, by_picture = noise
    error = rng.normal(0, by_part, groups)[group] + rng.normal(0, by_picture, len(group))
    return DicePairs(estimated, np.clip(estimated + error * (1.6 - 1.4 * estimated), 0, 1), group)


def _held(fitted: DicePairs, others: DicePairs) -> tuple[float, float]:
    """Coverage of others, and of the doubtful ones among them."""
    interval = fit_dice_interval(fitted)
    assert interval is not None
    level = np.searchsorted(interval.levels, others.estimated, side="right") - 1
    inside = np.abs(others.true - others.estimated) <= np.array(interval.margins)[level]
    return float(inside.mean()), float(inside[others.estimated < 0.45].mean())


@pytest.mark.parametrize(("groups", "pictures"), [(19, 1), (19, 6), (80, 1), (80, 3)])
def test_nine_of_ten_pictures_of_new_parts_are_inside(groups: int, pictures: int) -> None:
    trials = [_held(_pairs(groups, pictures, 2 * n), _pairs(300, 1, 2 * n + 1)) for n in range(400)]
    coverage, of_doubtful = np.mean(trials, axis=0)
    assert 0.89 <= coverage <= 0.94
    if groups >= 38:  # enough for several levels
        assert of_doubtful >= 0.87


def test_many_pictures_of_few_parts_prove_no_more_than_the_parts() -> None:
    assert fit_dice_interval(_pairs(8, 100, seed=1)) is None
    assert fit_dice_interval(DicePairs.of([])) is None
    smallest = _pairs(9, 1, seed=1)
    interval = fit_dice_interval(smallest)
    assert interval is not None
    assert (interval.groups, interval.pictures, interval.levels) == (9, 9, (0.0,))
    worst = float(np.abs(smallest.true - smallest.estimated).max())  # of nine none may be left out
    assert worst <= interval.margins[0] <= worst + 1e-4


def test_margin_by_hand_with_ties() -> None:
    errors = [0.3, 0.2, 0.2, *np.linspace(0.01, 0.16, 16)]
    interval = fit_dice_interval(DicePairs.of([(0.5, 0.5 - error, f"{n}") for n, error in enumerate(errors)]))
    assert interval is not None
    # of 19 parts one may be missed, for it and the part to come are 2 of 20
    assert (interval.levels, interval.margins) == ((0.0,), (0.2,))
    assert interval.around(0.5) == pytest.approx((0.3, 0.7))


def test_a_part_counts_once_however_many_pictures_it_has() -> None:
    rows = [(0.5, 0.45, f"{n}") for n in range(18)] + [(0.5, 0.1, "often photographed")] * 50
    interval = fit_dice_interval(DicePairs.of(rows))
    assert interval is not None
    assert interval.margins == pytest.approx((0.05,), abs=2e-4)


@pytest.mark.parametrize("seed", range(10))
def test_a_surer_mask_has_no_lower_bound_below_that_of_a_less_sure_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    interval = fit_dice_interval(
        DicePairs(np.round(rng.random(300), 1), rng.random(300), rng.integers(0, 150, 300))
    )
    assert interval is not None
    assert len(interval.levels) > 1
    low, high = np.array([interval.around(each) for each in np.linspace(0, 1, 501)]).T
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high - low) <= 1e-9).all() or low.min() == 0 or high.max() == 1
    assert ((low >= 0) & (high <= 1)).all()


def _scored(level: int, group: str, defective: bool = True) -> Scored:
    """An image with a called square, of which the lower half is marked if it is defective."""
    probability = np.zeros((1, 32, 32), np.uint8)
    probability[0, 8:24, 8:24] = level
    bits = np.zeros((32, 32), np.uint16)
    bits[16:24, 8:24] = int(defective)
    return scored(probability, bits, defective, group)


def test_pairs_are_those_of_defective_pictures_with_a_mask_as_the_service_makes_it() -> None:
    point = OperatingPoint(
        pixel_threshold=0.5, min_area_px=1, regions=UNFITTED, image_threshold=0.5, head_threshold=1.0
    )
    parts = [_scored(200, f"part {n}") for n in range(9)]
    unmarked = scored(parts[0].probability, None, True, "unmarked")
    left_out = [_scored(100, "escape"), _scored(200, "good", defective=False), unmarked]
    splits = ("calibration", "validation")
    interval = dice_interval(point, parts + left_out, ProbabilityCalibration(), splits)
    assert interval is not None
    assert (interval.pictures, interval.groups, interval.splits) == (9, 9, splits)
    estimate = 2 * (200 / 255) / (200 / 255 + 1)
    true = 2 * 128 / (256 + 128)
    assert interval.margins == pytest.approx((estimate - true,), abs=1e-4)
    assert dice_interval(point, parts[:8], ProbabilityCalibration(), splits) is None


def test_round_trip_through_the_bundle(tmp_path: Path) -> None:
    directory = write_tiny_bundle(tmp_path / "tiny")
    bundle, interval = Bundle.load(directory), fit_dice_interval(_pairs(80, 2, seed=3))
    assert interval is not None
    point = bundle.artifacts[0].operating_point.model_copy(update={"dice_interval": interval})
    artifact = bundle.artifacts[0].model_copy(update={"operating_point": point})
    picture = png(tiny_picture(90, 90, dark=(10, 10, 30, 20)))
    before = Inspector.load(directory, "cpu", 1).inspect(picture).estimated_dice
    write_manifest(directory, bundle.model_copy(update={"artifacts": (artifact,)}))
    inspector = Inspector.load(directory, "cpu", 1)
    assert inspector.session.artifact.operating_point.dice_interval == interval
    found = inspector.inspect(picture).estimated_dice
    assert found.any_defect is not None
    assert (before.any_defect, before.low, before.high) == (found.any_defect, None, None)
    assert (found.low, found.high) == interval.around(found.any_defect)
    empty = inspector.inspect(png(tiny_picture(90, 90))).estimated_dice
    assert (empty.any_defect, empty.low, empty.high, empty.reason) == (None, None, None, "empty_mask")


def test_halves_are_checked_against_each_other() -> None:
    pairs = _pairs(160, 1, seed=5)
    found = check_interval(compared_pairs(pairs.estimated.tolist(), pairs.true.tolist()), repeats=20)
    assert (found["pictures"], found["groups"]) == (160, 160)
    assert (found["halves"], found["halves_without_interval"]) == (40, 0)
    assert found["coverage"] == found["coverage_by_group"]  # an image a part
    assert 0.87 <= found["coverage"]["mean"] <= 0.96
    assert found["coverage"]["lowest"] < found["coverage"]["mean"] < found["coverage"]["highest"]
    json.dumps(found, allow_nan=False)


def test_halves_too_small_for_an_interval_are_counted() -> None:
    found = check_interval(compared_pairs([0.5] * 17, [0.4] * 17), repeats=3)
    # 8 parts on one side prove nothing, 9 on the other do
    assert (found["halves"], found["halves_without_interval"]) == (6, 3)
    assert found["coverage"]["mean"] == 1.0
    nothing = check_interval([], repeats=2)
    assert (nothing["halves_without_interval"], nothing["coverage"], nothing["width"]) == (4, None, None)

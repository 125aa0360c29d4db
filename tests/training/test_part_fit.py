"""The part model, fitted on images that were scored out of fold."""

import numpy as np
import pytest

from app.inspection.rules.part_model import PartModel
from training.config import OperatingPointConfig
from training.thresholds.operating_point import choose
from training.thresholds.part_fit import LEAST_EACH, fit_part_model, held_out_part_probability, part_table
from training.thresholds.predictions import Scored

from .scored import scored

CONFIG = OperatingPointConfig()
Images = tuple[list[float], list[str], list[bool]]


def _parts(good: int, bad: int, images: int = 4, seed: int = 0) -> Images:
    """Images of parts whose mean tells more than any single one: noisy by image, shifted by part."""
    rng = np.random.default_rng(seed)
    levels, groups, kinds = [], [], []
    for number in range(good + bad):
        defective = number >= good
        logits = rng.normal(1.0 if defective else -1.0, 1.5, images)
        levels += (1 / (1 + np.exp(-logits))).tolist()
        groups += [f"part {number:03}"] * images
        kinds += [defective] * images
    return levels, groups, kinds


def _fitted(images: Images, config: OperatingPointConfig = CONFIG) -> PartModel:
    model = fit_part_model(*images, config)
    assert model is not None
    return model


def test_a_part_is_a_group_of_two_and_defective_if_an_image_is() -> None:
    table = part_table(
        [0.5, 0.9, 0.2, 0.1, 0.3], ["b", "a", "b", "a", "alone"], [False, True, False, False, True]
    )
    assert table.names == ("a", "b")
    assert table.defective.tolist() == [True, False]
    logits = np.log([0.9 / 0.1, 0.1 / 0.9])
    assert table.features[0] == pytest.approx([logits.mean(), logits.max()])
    assert part_table([], [], []).features.shape == (0, 2)


def test_the_joint_probability_tells_more_than_the_worst_image() -> None:
    images = _parts(150, 150, seed=1)
    model = _fitted(images)
    assert (model.parts, model.defective) == (300, 150)
    fresh = part_table(*_parts(150, 150, seed=2))
    logits = fresh.features @ np.array([model.mean_logit, model.max_logit]) + model.bias
    called = 1 / (1 + np.exp(-logits)) >= model.part_threshold
    joint = (called == fresh.defective).mean()
    highest = fresh.features[:, 1]
    worst = max(((highest >= level) == fresh.defective).mean() for level in highest)
    assert joint > worst


def test_the_threshold_is_the_best_of_held_out_probabilities() -> None:
    images = _parts(40, 40, seed=3)
    table, model = part_table(*images), _fitted(images)
    held_out = held_out_part_probability(table)

    def f1(threshold: float) -> float:
        called = held_out >= threshold
        hits = np.count_nonzero(called & table.defective)
        return float(2 * hits / (called.sum() + table.defective.sum()))

    assert f1(model.part_threshold) == max(f1(level) for level in held_out)
    levels = dict(zip(images[1], images[0], strict=True))
    seen = [model.probability([p for p, g in zip(*images[:2], strict=True) if g == name]) for name in levels]
    assert not np.allclose(held_out, seen, atol=1e-4)  # no part was judged by a model that had seen it


def test_beta_moves_the_part_threshold() -> None:
    images = _parts(60, 60, seed=4)
    careful = _fitted(images, OperatingPointConfig(beta=4)).part_threshold
    assert careful < _fitted(images, OperatingPointConfig(beta=0.5)).part_threshold


@pytest.mark.parametrize(("good", "bad"), [(LEAST_EACH - 1, 30), (30, LEAST_EACH - 1), (0, 0)])
def test_too_few_parts_give_no_model(good: int, bad: int) -> None:
    assert fit_part_model(*_parts(good, bad), CONFIG) is None


def test_parts_of_one_image_give_no_model() -> None:
    assert fit_part_model(*_parts(30, 30, images=1), CONFIG) is None


def test_a_negative_weight_is_left_out() -> None:
    """Good parts have one image far beyond the others, so the maximum alone would count against defects."""
    rng = np.random.default_rng(5)
    levels, groups, kinds = [], [], []
    for number in range(80):
        defective = number % 2 == 1
        logits = rng.normal(1.0, 0.2, 4) if defective else [*rng.normal(-2.0, 0.2, 3), rng.normal(2, 0.2)]
        levels += (1 / (1 + np.exp(-np.asarray(logits)))).tolist()
        groups += [f"part {number:02}"] * 4
        kinds += [defective] * 4
    model = _fitted((levels, groups, kinds))
    assert (model.mean_logit > 0, model.max_logit) == (True, 0)
    upside_down = [not kind for kind in kinds]
    low = [0.5 * level if kind else level for level, kind in zip(levels, kinds, strict=True)]
    turned = fit_part_model(low, groups, upside_down, CONFIG)
    assert turned is None or min(turned.mean_logit, turned.max_logit) >= 0


def _image(level: int, defective: bool, group: str) -> Scored:
    probability = np.full((1, 32, 32), 10, np.uint8)
    probability[0, 4:12, 4:12] = level
    bits = np.zeros((32, 32), np.uint16)
    bits[4:12, 4:12] = int(defective)
    return scored(probability, bits, defective, group)


def test_the_operating_point_has_it_where_there_are_parts_of_several_images() -> None:
    rng = np.random.default_rng(0)
    images = [
        _image(int(np.clip(rng.normal(210 if number % 2 else 160, 25), 131, 255)), bool(number % 2), group)
        for number in range(30)
        for group in (f"part {number}",) * 3
    ]
    choice = choose(images, CONFIG)
    model = choice.point.parts
    assert model is not None
    groups, kinds = [each.group for each in images], [each.defective for each in images]
    assert model == fit_part_model(choice.image_probability.tolist(), groups, kinds, CONFIG)
    assert (model.parts, model.defective) == (30, 15)
    alone = [_image(150 + 3 * number, bool(number % 2), f"part {number}") for number in range(30)]
    assert choose(alone, CONFIG).point.parts is None

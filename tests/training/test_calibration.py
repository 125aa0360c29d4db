"""Calibration: what is too sure becomes as sure as it should be, and little data does no harm."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from app.inspection.bundle.calibration import Curve, ProbabilityCalibration
from training.evaluation.report import calibration_chart
from training.rendering import chart
from training.statistics import reliability
from training.thresholds import calibration as fitted
from training.thresholds.calibration import Calibrated, LevelCounts, _folds
from training.thresholds.predictions import Scored

from .scored import scored as by_hand

Bend = Callable[[NDArray[np.float64]], NDArray[np.float64]]
SIDE = 32


def too_sure(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(expit(2 * logits))


def lopsided(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """No temperature undoes this."""
    return np.asarray(expit(0.7 * logits + 2) ** 2)


def calibrate(images: Sequence[Scored], classes: Sequence[str]) -> Calibrated:
    """With the head's probability in the place of the image probability, which it is drawn as here."""
    return fitted.calibrate(images, [each.head_probability for each in images], classes)


def count_levels(
    images: Sequence[Scored], classes: int
) -> tuple[LevelCounts, LevelCounts, tuple[LevelCounts, ...]]:
    """As `calibrate`."""
    return fitted.count_levels(images, [each.head_probability for each in images], classes)


def _scored(bend: Bend, groups: int, classes: int = 2, seed: int = 1) -> list[Scored]:
    """Four images a group, whose classes and images are defective as often as their logits say."""
    rng = np.random.default_rng(seed)
    scored = []
    for number in range(4 * groups):
        logits = rng.normal(-0.5, 0.9, (classes, SIDE, SIDE))
        marked = rng.random(logits.shape) < expit(logits)
        bits = (marked * (1 << np.arange(classes))[:, None, None]).sum(axis=0).astype(np.uint16)
        picture = rng.normal(0, 1.2)
        scored.append(
            by_hand(
                probability=np.rint(255 * bend(logits)).astype(np.uint8),
                head=float(bend(np.array(picture))),
                bits=bits,
                defective=bool(rng.random() < expit(picture)),
                group=f"part-{number // 4}",
            )
        )
    return scored


def _ece(table: NDArray[np.float32], counts: LevelCounts) -> float:
    positives = counts.positive.sum(axis=0)
    found = reliability(table.astype(np.float64), positives + counts.negative.sum(axis=0), positives)
    assert found is not None
    return float(found["ece"])


@pytest.mark.parametrize("bend", [too_sure, lopsided])
def test_expected_calibration_error_falls_on_pictures_not_calibrated_on(bend: Bend) -> None:
    calibration = calibrate(_scored(bend, groups=60), ("dark", "bright")).calibration
    image, any_defect, classes = count_levels(_scored(bend, groups=150, seed=2), 2)
    plain = Curve().table()
    # an error of 600 images in 10 bins is never near 0, however honest the probabilities are
    assert _ece(calibration.image.table(), image) < 0.7 * _ece(plain, image)
    for curve, counts in zip(calibration.classes, classes, strict=True):
        assert _ece(curve.table(), counts) < 0.01 < 0.07 < _ece(plain, counts)
    assert _ece(calibration.mask_table(), any_defect) < 0.01 < _ece(plain, any_defect)


def test_temperature_is_recovered_and_what_it_cannot_do_is_isotonic() -> None:
    sure = calibrate(_scored(too_sure, groups=40, classes=1), ("dark",))
    assert sure.report["classes"]["dark"]["method"] == "temperature"
    assert sure.calibration.classes[0].temperature == pytest.approx(2.0, rel=0.05)
    other = calibrate(_scored(lopsided, groups=40, classes=1), ("dark",))
    costs = other.report["classes"]["dark"]["cross_entropy"]
    assert other.report["classes"]["dark"]["method"] == "isotonic"
    assert costs["isotonic"] < 0.99 * costs["temperature"] < costs["none"]


def test_honest_probabilities_are_left_alone_or_nearly() -> None:
    calibration = calibrate(_scored(expit, groups=40), ("dark", "bright")).calibration
    for curve in (calibration.image, *calibration.classes):
        np.testing.assert_allclose(curve.table()[5:250], Curve().table()[5:250], atol=0.07)


@pytest.mark.parametrize("bend", [too_sure, lopsided])
def test_curves_never_change_the_order(bend: Bend) -> None:
    calibration = calibrate(_scored(bend, groups=5), ("dark", "bright")).calibration
    for table in (calibration.mask_table(), *(each.table() for each in calibration.classes)):
        assert np.all(np.diff(table) >= 0)
        assert table.min() >= 0
        assert table.max() <= 1


def test_report_is_of_held_out_groups() -> None:
    scored = _scored(lopsided, groups=25, classes=1)
    calibrated = calibrate(scored, ("dark",))
    counts = count_levels(scored, 1)[0]
    report = calibrated.report["image"]
    assert report["method"] == "isotonic"
    # on the images that it was fitted to, isotonic regression looks almost perfect
    assert report["after"]["ece"] > _ece(calibrated.calibration.image.table(), counts)


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_few_pictures_do_no_harm(groups: int) -> None:
    calibrated = calibrate(_scored(too_sure, groups)[: 2 * groups], ("dark", "bright"))
    table = calibrated.calibration.image.table().astype(np.float64)
    assert np.all(np.diff(table) >= 0)
    if groups < 3:
        assert calibrated.report["any_defect"]["method"] == "none"
        assert calibrated.calibration.mask_table() == pytest.approx(np.arange(256) / 255)
        assert calibrated.report["any_defect"]["cross_entropy"] is None


def test_one_kind_of_picture_leaves_the_image_probability_as_it_is() -> None:
    good = [each for each in _scored(too_sure, 20) if not each.defective]
    calibrated = calibrate(good, ("dark", "bright"))
    assert calibrated.calibration.image == Curve()
    assert calibrated.report["image"]["method"] == "none"


def test_class_of_few_groups_takes_the_curve_of_all_classes() -> None:
    scored = [
        by_hand(
            each.probability,
            each.bits if number < 8 or each.bits is None else each.bits & np.uint16(1),
            each.defective,
            each.group,
            each.head_probability,
        )
        for number, each in enumerate(_scored(too_sure, 40))
    ]
    calibrated = calibrate(scored, ("dark", "rare"))  # two groups show the second
    rare = calibrated.report["classes"]["rare"]
    assert rare["method"].endswith(", of all classes")
    assert calibrated.report["classes"]["dark"]["method"] == "temperature"
    # judged by groups that the curve was not fitted to, and better there than none
    assert rare["cross_entropy"]["isotonic"] < rare["cross_entropy"]["none"]


def test_unlabelled_pixels_count_for_the_picture_only() -> None:
    scored = [by_hand(np.zeros((1, 4, 4), np.uint8), None, True, "part", 0.4)]
    image, any_defect, (only,) = count_levels(scored, 1)
    assert image.positive[0, 102] == 1
    for counts in (any_defect.positive, any_defect.negative, only.negative):
        assert not counts.any()
    assert calibrate(scored, ("dark",)).report["any_defect"]["before"] is None


def test_levels_are_counted_where_classes_overlap() -> None:
    probability = np.array([[[200, 10]], [[50, 60]]], np.uint8)
    bits = np.array([[3, 0]], np.uint16)
    image, any_defect, (first, second) = count_levels([by_hand(probability, bits, True, "part", 1.0)], 2)
    assert image.positive[0, 255] == 1
    assert (any_defect.positive[0, 200], any_defect.negative[0, 60]) == (1, 1)
    assert (first.positive[0, 200], first.negative[0, 10]) == (1, 1)
    assert (second.positive[0, 50], second.negative[0, 60]) == (1, 1)


@pytest.mark.parametrize("defective", [1, 3, 7])
def test_every_fold_has_defects_as_long_as_they_last(defective: int) -> None:
    positive = np.zeros((12, 256))
    positive[2 : 2 + defective, 9] = np.arange(defective) + 1
    folds = _folds(LevelCounts(positive, np.ones((12, 256))))
    for fold in range(folds.max() + 1):
        assert positive[folds == fold].any()


def test_calibration_survives_the_bundle() -> None:
    calibration = calibrate(_scored(lopsided, 10), ("dark", "bright")).calibration
    again = ProbabilityCalibration.model_validate_json(calibration.model_dump_json(), strict=True)
    assert again == calibration


def test_chart_has_a_diagram_for_each_output() -> None:
    report = calibrate(_scored(too_sure, 5, classes=3), ("dark", "bright", "<odd>")).report
    figure = calibration_chart(report)
    assert [axes.get_title().split(":")[0] for axes in figure.axes] == [
        "image", "any defect", "dark", "bright", "<odd>",
    ]  # fmt: skip
    assert len(figure.axes[0].lines) == 3
    assert chart(figure).startswith("<svg")

"""Figures of evaluation.json, worked out by hand."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.inspection.inspector import Inspector
from app.inspection.results import Verdict
from tests.tiny_bundle import png, tiny_picture, write_tiny_bundle
from training.data.sample import Blob, MaskFile, Sample
from training.evaluation.compared import Compared, Overlap, compare_samples
from training.evaluation.figures import summarise


def _compared(name: str, verdict: Verdict, dice: float | None = None, defect_px: int = 0) -> Compared:
    defective = name.startswith("crack")
    probability = {"pass": 0.1, "review": 0.6, "fail": 0.9}[verdict]
    kind = "crack" if defective else "good"
    class_dice = {} if dice is None else {"crack": dice}
    return Compared(name, name, kind, defective, verdict, probability, dice, class_dice, defect_px)


def compared_pairs(estimated: list[float], true: list[float]) -> list[Compared]:
    """Defective images, a part each, by their estimated and their true Dice."""
    return [
        replace(_compared(f"crack{n}", "fail", dice, 50), estimated_dice=estimate)
        for n, (estimate, dice) in enumerate(zip(estimated, true, strict=True))
    ]


ROWS = [
    _compared("crack1", "fail", 0.8, 50),
    _compared("crack2", "review", 0.0, 500),
    _compared("crack3", "pass", 0.0, 500),
    _compared("crack4", "fail"),  # its label marks no pixels
    _compared("good1", "pass"),
    _compared("good2", "pass"),
    _compared("good3", "fail"),
    _compared("good4", "review"),
]


def test_review_stops_a_part_and_an_escape_is_a_pass() -> None:
    figures = summarise(ROWS, 0.95)
    assert figures["accuracy"]["value"] == 5 / 8
    assert figures["precision"]["value"] == 3 / 5
    assert figures["recall"]["value"] == 3 / 4
    assert figures["escape_rate"]["value"] == 1 / 4
    assert figures["overkill_rate"]["value"] == 2 / 4
    assert figures["escape_rate"]["interval"] == pytest.approx([0.0063, 0.8059])
    assert figures["verdicts"]["defective"] == {"pass": 1, "fail": 2, "review": 1}
    # Of the 16 pairs of a defective and a good image 9 are in order and 3 tied.
    assert figures["auroc"] == pytest.approx((9 + 3 / 2) / 16, abs=1e-4)


def test_dice_counts_marked_defective_pictures_only_and_misses_as_zero() -> None:
    dice = summarise(ROWS, 0.95)["dice"]
    assert dice["pictures"] == 3
    assert dice["per_defective_picture"] == pytest.approx(0.8 / 3, abs=1e-4)
    assert dice["per_class"]["crack"]["pictures"] == 3
    assert dice["by_defect_size"]["1-99 px"] == {"pictures": 1, "any_defect": 0.8}
    assert dice["by_defect_size"]["100-999 px"] == {"pictures": 2, "any_defect": 0.0}
    assert dice["by_defect_size"]["10000 px and more"] == {"pictures": 0, "any_defect": None}


def test_intervals_by_group_are_wider_where_groups_agree() -> None:
    rows = [replace(row, group=row.picture_class) for row in ROWS[:2] + ROWS[4:6]] * 10
    by_group = summarise(rows, 0.95)["by_group"]
    assert (by_group["defective_groups"], by_group["good_groups"]) == (1, 1)
    alone = summarise([replace(row, group=str(n)) for n, row in enumerate(ROWS * 10)], 0.95)["by_group"]
    joined = summarise([replace(row, group=row.name) for row in ROWS * 10], 0.95)["by_group"]
    width = {
        name: np.ptp(each["intervals"]["accuracy"]) for name, each in (("alone", alone), ("joined", joined))
    }
    assert width["joined"] > 2 * width["alone"]


def test_estimate_is_held_against_the_measured_dice() -> None:
    rows = [replace(ROWS[0], estimated_dice=0.9), replace(ROWS[1], estimated_dice=0.3), ROWS[2]]
    found = summarise(rows, 0.95)["estimated_dice"]
    assert {name: found[name] for name in ("pictures", "mean_error", "mean_absolute_error")} == {
        "pictures": 2,
        "mean_error": 0.2,
        "mean_absolute_error": 0.2,
    }
    assert (found["pearson"], found["interval"]) == (None, None)  # of two images, without intervals


def test_order_of_the_estimates_by_hand() -> None:
    found = summarise(compared_pairs([0.9, 0.5, 0.1], [0.6, 0.9, 0.3]), 0.95)["estimated_dice"]
    assert found["spearman"] == 0.5
    assert found["pearson"] == pytest.approx(np.corrcoef([0.9, 0.5, 0.1], [0.6, 0.9, 0.3])[0, 1], abs=1e-4)
    risk = found["risk_coverage"]
    assert risk["curve"] == {
        "kept": [0.3333, 0.6667, 1.0],
        "risk": [0.4, 0.25, 0.4],
        "best_risk": [0.1, 0.25, 0.4],
    }
    assert risk["aurc"] == pytest.approx((0.4 + 0.25 + 0.4) / 3, abs=1e-4)
    assert risk["best"] == pytest.approx((0.1 + 0.25 + 0.4) / 3, abs=1e-4)
    assert risk["random"] == 0.4


def test_estimates_that_are_all_alike_order_nothing() -> None:
    found = summarise(compared_pairs([0.5] * 4, [0.9, 0.1, 0.4, 0.6]), 0.95)["estimated_dice"]
    assert (found["pearson"], found["spearman"]) == (None, None)
    assert found["risk_coverage"]["aurc"] == found["risk_coverage"]["random"] == 0.5


def test_intervals_around_the_estimate_are_counted_by_picture_and_by_part() -> None:
    rows = compared_pairs([0.5] * 4, [0.5, 0.7, 0.71, 0.1])
    rows = [replace(row, dice_interval=(0.3, 0.7), group="ab"[row.name == "crack3"]) for row in rows]
    found = summarise([*rows, *ROWS], 0.95)["estimated_dice"]["interval"]
    assert (found["pictures"], found["groups"], found["mean_width"]) == (4, 2, 0.4)
    assert found["coverage"] == {"value": 0.5, "interval": [0.0676, 0.9324], "count": 2, "of": 4}
    assert found["coverage_by_group"] == pytest.approx((2 / 3 + 0) / 2, abs=1e-4)


def test_pooled_dice_takes_all_pixels_as_one_picture() -> None:
    rows = [
        replace(ROWS[0], overlap=Overlap(10, 10, 8), class_overlap={"crack": Overlap(10, 8, 8)}),
        replace(ROWS[1], overlap=Overlap(90, 0, 0), class_overlap={"crack": Overlap(90, 0, 0)}),
        replace(ROWS[6], overlap=Overlap(0, 50, 0), class_overlap={"crack": Overlap(0, 52, 0)}),
    ]
    dice = summarise(rows, 0.95)["dice"]
    assert dice["pooled"] == pytest.approx(2 * 8 / (100 + 60))
    assert dice["per_class"]["crack"]["pooled"] == pytest.approx(2 * 8 / (100 + 60))
    assert summarise(ROWS, 0.95)["dice"]["pooled"] is None


def test_nothing_to_count_is_none() -> None:
    figures = summarise(ROWS[4:6], 0.95)
    assert figures["recall"] is None
    assert figures["precision"] is None
    assert figures["auroc"] is None
    assert figures["dice"]["per_defective_picture"] is None


def test_samples_are_judged_from_their_own_bytes(tmp_path: Path) -> None:
    inspector = Inspector.load(write_tiny_bundle(tmp_path / "tiny"), device="cpu")
    label_map = np.zeros((96, 80), np.uint8)
    label_map[30:40, 20:40] = 255
    (tmp_path / "dark.png").write_bytes(png(tiny_picture(96, 80, dark=(20, 30, 20, 10))))
    (tmp_path / "good.png").write_bytes(png(tiny_picture(96, 80)))
    cv2.imwrite(str(tmp_path / "mask.png"), label_map)
    mask = MaskFile(Blob(tmp_path / "mask.png"), marked_class=1)
    samples = [
        Sample("a", "a", "set", "dark", True, Blob(tmp_path / "dark.png"), mask),
        Sample("b", "b", "set", "good", False, Blob(tmp_path / "good.png")),
    ]
    dark, good = compare_samples(inspector, samples)
    assert (dark.verdict, dark.dice, dark.class_dice, dark.defect_px) == ("fail", 1.0, {"dark": 1.0}, 200)
    assert (good.verdict, good.dice, good.class_dice) == ("pass", None, {})
    assert dark.overlap == dark.class_overlap["dark"] == Overlap(200, 200, 200)
    assert dark.class_overlap["bright"] == good.overlap == Overlap(0, 0, 0)
    assert (good.brightness, good.sharpness, good.height, good.width) == (128, 0, 96, 80)
    assert dark.brightness == pytest.approx(128 - 118 * 200 / (96 * 80), abs=0.01)
    assert dark.sharpness > 0

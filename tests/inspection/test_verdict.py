"""Defects against recipes."""

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.inspection.measuring.measure import measure
from app.inspection.results import Defect, Findings, Reason, Severity, Verdict, ZoneDefects
from app.inspection.rules.recipe import Density, ExtraRules, Limits, Recipe, Zone
from app.inspection.rules.verdict import doubts_about, judge, most_in_window

SEVERITIES: dict[str, Severity] = {"crack": "critical", "pore": "major", "stain": "minor"}
SPECK = measure(np.ones((1, 1), dtype=np.uint8), None, ("crack",), 0.5)[0]
EMPTY, FULL = np.zeros((2, 2), dtype=np.uint8), np.ones((2, 2), dtype=np.uint8)


def defect(name: str = "crack", area: int = 10, length: float = 5.0, **others: Any) -> Defect:
    sizes = {"area_mm2": area * 0.25, "length_mm": length * 0.5, "touches_border": False}
    return replace(SPECK, defect_class=name, area_px=area, length_px=length, **sizes | others)


def recipe(**limits: Any) -> Recipe:
    return Recipe(name="test", pixel_pitch_mm=0.5, limits={"crack": Limits(**limits)})


def judged(found: tuple[Defect, ...], by: Recipe, *doubts: Reason) -> tuple[Verdict, tuple[Reason, ...]]:
    return judge(Findings(found), by, SEVERITIES, doubts)


def test_no_defect_passes() -> None:
    assert judged((), recipe(max_count=0)) == ("pass", ())


@pytest.mark.parametrize(
    ("limits", "rule", "measured", "limit", "unit", "number"),
    [
        ({"max_count": 1}, "max_count", 2, 1, "count", None),
        ({"max_area_px": 11.0}, "max_area", 12, 11, "px2", 0),
        ({"max_area_mm2": 2.9}, "max_area", 3, 2.9, "mm2", 0),
        ({"max_length_px": 7.5}, "max_length", 8, 7.5, "px", 1),
        ({"max_length_mm": 3.9}, "max_length", 4, 3.9, "mm", 1),
        ({"max_width_px": 2.5}, "max_width", 3, 2.5, "px", 1),
        ({"max_width_mm": 1.4}, "max_width", 1.5, 1.4, "mm", 1),
        ({"max_total_area_px": 21.0}, "max_total_area", 22, 21, "px2", None),
        ({"max_total_area_mm2": 5.4}, "max_total_area", 5.5, 5.4, "mm2", None),
        ({"max_density": Density(count=1, window_px=10)}, "max_density", 2, 1, "count", None),
        ({"max_density": Density(count=1, window_mm=5)}, "max_density", 2, 1, "count", None),
        ({"min_distance_px": 7.0}, "min_distance", 6, 7, "px", 0),
        ({"min_distance_mm": 3.5}, "min_distance", 3, 3.5, "mm", 0),
    ],
)
def test_limit_exceeded_fails_with_the_worst_value(
    limits: dict[str, Any], rule: Any, measured: float, limit: float, unit: Any, number: int | None
) -> None:
    near: dict[str, Any] = {"nearest_px": 6.0, "nearest_mm": 3.0}
    found = (
        defect(area=12, length=5.0, width_px=2.0, width_mm=1.0, centroid=(4.0, 4.0), **near),
        defect(area=10, length=8.0, width_px=3.0, width_mm=1.5, centroid=(14.0, 4.0), **near),
    )
    reason = Reason(rule, "crack", measured, limit, unit, None, number, "fail")
    assert judged(found, recipe(**limits)) == ("fail", (reason,))


def test_value_at_its_limit_passes() -> None:
    window = Density(count=1, window_px=100)
    at = recipe(max_count=1, max_area_px=10, max_area_mm2=2.5, max_length_px=5, max_length_mm=2.5,
                max_width_px=1, max_total_area_px=10, max_density=window, min_distance_px=99)  # fmt: skip
    assert judged((defect(),), at) == ("pass", ())
    gap = defect("pore", nearest_px=4.0), defect("pore", nearest_px=4.0)
    assert judged(gap, Recipe(name="gap", other=Limits(min_distance_px=4))) == ("pass", ())


def test_reasons_stand_in_the_order_that_decided() -> None:
    found = (
        defect("stain", area=100),
        defect("pore", area=30),
        defect("crack", area=12, length=20.0),
    )
    rules = Recipe(
        name="test",
        other=Limits(max_area_px=10, max_length_px=10),
        review=ExtraRules(other=Limits(max_length_px=2, max_area_px=5, max_width_px=0.5)),
    )
    verdict, reasons = judged(found, rules)
    assert verdict == "fail"
    assert [(each.rule, each.defect_class, each.verdict, each.defect) for each in reasons] == [
        ("max_length", "crack", "fail", 2),  # twice its limit; the area only 1.2 times
        ("max_area", "crack", "fail", 2),
        ("max_area", "pore", "fail", 1),
        ("max_area", "stain", "fail", 0),
        ("max_width", "crack", "review", 2),  # its length and area have failed already
        ("max_length", "pore", "review", 1),
        ("max_width", "pore", "review", 1),
        ("max_length", "stain", "review", 0),
        ("max_width", "stain", "review", 0),
    ]


def test_class_that_is_not_named_falls_under_its_severity_then_under_other() -> None:
    rules = Recipe(
        name="test",
        limits={"crack": Limits(max_area_px=10)},
        severities={"critical": Limits(max_count=0), "major": Limits(max_area_px=20)},
    )
    assert judged((defect("crack"),), rules)[0] == "pass"
    assert judged((defect("pore", area=20),), rules)[0] == "pass"
    assert judged((defect("pore", area=21),), rules)[0] == "fail"
    assert judged((defect("stain"),), rules)[0] == "fail", "what nobody named is not accepted"


def test_review_band() -> None:
    rules = Recipe(
        name="test",
        other=Limits(max_area_px=20),
        review=ExtraRules(severities={"critical": Limits(max_area_px=10)}),
    )
    assert [judged((defect(area=area),), rules)[0] for area in (10, 11, 21)] == ["pass", "review", "fail"]
    assert judged((defect("pore", area=11),), rules)[0] == "pass", "the band is for critical classes only"
    (reason,) = judged((defect(area=11),), rules)[1]
    assert reason == Reason("max_area", "crack", 11, 10, "px2", None, 0, "review")


def test_defect_at_the_edge_is_a_review_where_the_recipe_minds() -> None:
    minds = Recipe(name="test", other=Limits(max_area_px=10), border="review")
    found = (defect(area=5), defect(area=4, touches_border=True))
    reason = Reason("border", "crack", 1, 0, "count", None, 1, "review")
    assert judged(found, minds) == ("review", (reason,))
    assert judged(found, minds.model_copy(update={"border": "judge"})) == ("pass", ())
    assert judged((defect(area=11, touches_border=True),), minds)[0] == "fail"


def test_zone_has_limits_beside_those_of_the_recipe() -> None:
    polygon = ((0, 0), (9, 0), (9, 9))
    zone = Zone(polygon_px=polygon, limits={"crack": Limits(max_area_px=3)})
    rules = Recipe(name="test", other=Limits(max_area_px=10), zones={"face": zone})
    whole = (defect("stain", area=8), defect(area=9))

    def with_piece(area: int) -> Findings:
        return Findings(whole, (ZoneDefects("face", (defect(area=area),), (1,)),))

    assert judge(with_piece(3), rules, SEVERITIES) == ("pass", ())
    reason = Reason("max_area", "crack", 4, 3, "px2", "face", 1, "fail")
    assert judge(with_piece(4), rules, SEVERITIES) == ("fail", (reason,))
    with pytest.raises(ValueError, match="found with the recipe's zones"):
        judged(whole, rules)


def test_doubts_make_a_review_only_of_what_would_pass() -> None:
    (reason,) = doubts_about(0.9, 0.5, None, recipe(max_count=0))
    assert reason == Reason("head_without_mask", None, 0.9, 0.5, "probability")
    assert judged((), recipe(max_count=0), reason) == ("review", (reason,))
    assert judged((defect(),), recipe(max_count=0), reason)[0] == "fail"
    assert doubts_about(0.49, 0.5, None, recipe(max_count=0)) == ()
    assert doubts_about(None, 0.5, None, recipe(max_count=0)) == (), "what the mask shows explains it"
    assert doubts_about(0.5, 0.5, None, recipe(max_count=0))


def test_low_estimated_dice_is_a_doubt() -> None:
    rules = recipe(max_count=1).model_copy(update={"min_estimated_dice": 0.7})
    (reason,) = doubts_about(None, 0.5, 0.69, rules)
    assert reason == Reason("low_confidence", None, 0.69, 0.7, "dice")
    assert judged((defect(),), rules, reason) == ("review", (reason,))
    assert doubts_about(None, 0.5, 0.7, rules) == ()
    assert doubts_about(None, 0.5, 0.1, recipe(max_count=1)) == ()


@pytest.mark.parametrize("found", [(), (defect(),)])
def test_outside_of_the_gate_everything_is_a_review(found: tuple[Defect, ...]) -> None:
    blurred = Reason("blur", None, 0.1, 0.3, "ratio")
    verdict, reasons = judge(Findings(found), recipe(max_count=0), SEVERITIES, outside_gate=(blurred,))
    assert (verdict, reasons[0]) == ("review", blurred)
    assert [each.rule for each in reasons[1:]] == ["max_count"] * len(found)


def test_limit_on_what_was_not_measured_is_no_pass() -> None:
    with pytest.raises(ValueError, match="pixel pitch"):
        judged((defect(area_mm2=None),), recipe(max_area_mm2=99))
    with pytest.raises(ValueError, match="nearest_px is missing"):
        judged((defect(), defect()), recipe(min_distance_px=1))


@pytest.mark.parametrize(("side", "most"), [(0.5, 1), (1, 2), (4, 3), (10, 4)])
def test_most_in_window(side: float, most: int) -> None:
    points = np.array([[0, 0], [1, 0], [4, 4], [10, 10.0], [0, 30]])
    assert most_in_window(points, side) == most
    assert most_in_window(points[:, ::-1], side) == most


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**16 - 1), st.integers(1, 90), st.sampled_from([2, 7, 40, 10**6]), st.integers(0, 12))
def test_most_in_window_is_that_of_every_square(seed: int, count: int, places: int, twelfths: int) -> None:
    """Of coordinates in thirds, so that many are at a border, or next to it by a rounding."""
    points = np.random.default_rng(seed).integers(0, places, (count, 2)) / 3
    side = twelfths / 12 * places / 3
    inside_x, inside_y = ((axis[:, None] <= axis) & (axis <= axis[:, None] + side) for axis in points.T)
    slowly = (inside_x.astype(int) @ inside_y.T.astype(int)).max()  # by left side and top
    assert most_in_window(points, side) == slowly


@pytest.mark.parametrize("share", [0.01, 0.5, 1.0])
def test_very_many_points_take_little_time(share: float) -> None:
    points = np.random.default_rng(1).random((20_000, 2)) * 2000
    start = time.process_time()
    most = most_in_window(points, share * 2000)
    assert time.process_time() - start < 1
    assert most >= 20_000 * share**2

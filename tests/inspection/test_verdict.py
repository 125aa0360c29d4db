"""Defects against recipes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inspection.recipe import Limits, Recipe
from app.inspection.results import Defect, Reason
from app.inspection.verdict import head_reason, judge

CLASSES = ("crack", "pore", "stain")


def defect(name: str = "crack", area: int = 10, length: float = 5.0, pitch: float | None = 0.5) -> Defect:
    return Defect(
        defect_class=name,
        score=0.9,
        area_px=area,
        area_mm2=None if pitch is None else area * pitch**2,
        length_px=length,
        length_mm=None if pitch is None else length * pitch,
        width_px=1.0,
        width_mm=None if pitch is None else pitch,
        bbox=(0, 0, 1, 1),
        centroid=(0.0, 0.0),
        touches_border=True,
    )


def recipe(**limits: Any) -> Recipe:
    return Recipe(name="test", pixel_pitch_mm=0.5, limits={"crack": Limits(**limits)})


def test_no_defect_passes() -> None:
    assert judge((), recipe(max_count=0)) == ("pass", ())


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_count": 1}, Reason("max_count", "crack", 2.0, 1.0, "count")),
        ({"max_area_px": 11.0}, Reason("max_area", "crack", 12.0, 11.0, "px2")),
        ({"max_area_mm2": 2.9}, Reason("max_area", "crack", 3.0, 2.9, "mm2")),
        ({"max_length_px": 7.5}, Reason("max_length", "crack", 8.0, 7.5, "px")),
        ({"max_length_mm": 3.9}, Reason("max_length", "crack", 4.0, 3.9, "mm")),
    ],
)
def test_limit_exceeded_fails_with_the_worst_value(limits: dict[str, Any], reason: Reason) -> None:
    found = (defect(area=12, length=5.0), defect(area=10, length=8.0))
    assert judge(found, recipe(**limits)) == ("fail", (reason,))


def test_value_at_its_limit_passes() -> None:
    at = recipe(max_count=1, max_area_px=10, max_area_mm2=2.5, max_length_px=5, max_length_mm=2.5)
    assert judge((defect(),), at) == ("pass", ())


def test_every_limit_exceeded_is_a_reason() -> None:
    verdict, reasons = judge((defect(),), recipe(max_count=0, max_area_px=1, max_length_mm=1))
    assert verdict == "fail"
    assert [each.rule for each in reasons] == ["max_count", "max_area", "max_length"]


def test_class_that_is_not_named_falls_under_other() -> None:
    assert judge((defect("stain"),), recipe(max_count=9))[0] == "fail"
    tolerant = Recipe(name="test", other=Limits(max_area_px=10))
    assert judge((defect("stain"),), tolerant)[0] == "pass"
    assert judge((defect("stain", area=11),), tolerant)[0] == "fail"


def test_head_without_mask_is_a_review_only_where_there_is_no_defect() -> None:
    reason = head_reason(0.9, 0.5)
    assert reason == Reason("head_without_mask", None, 0.9, 0.5, "probability")
    assert judge((), recipe(max_count=0), reason) == ("review", (reason,))
    assert judge((defect(),), recipe(max_count=0), reason)[0] == "fail"
    assert judge((defect(),), recipe(max_count=1), reason)[0] == "pass"
    assert head_reason(0.5, 0.5) is not None
    assert head_reason(0.49, 0.5) is None


def test_millimetre_limit_without_millimetres_is_no_pass() -> None:
    with pytest.raises(ValueError, match="pixel pitch"):
        judge((defect(pitch=None),), recipe(max_area_mm2=99))


sizes = st.none() | st.integers(0, 20).map(float)
counts = st.none() | st.integers(0, 4)
limit_sets = st.tuples(counts, sizes, sizes, sizes, sizes).filter(
    lambda each: any(x is not None for x in each)
)
found_defects = st.lists(
    st.builds(defect, st.sampled_from(CLASSES), st.integers(1, 30), st.integers(1, 30).map(float)), max_size=6
).map(tuple)


@given(found_defects, limit_sets, limit_sets)
def test_tighter_limits_never_turn_fail_into_pass(
    found: tuple[Defect, ...], loose: tuple[Any, ...], other: tuple[Any, ...]
) -> None:
    tight = tuple(
        min((value for value in pair if value is not None), default=None)
        for pair in zip(loose, other, strict=True)
    )
    keys = ("max_count", "max_area_px", "max_area_mm2", "max_length_px", "max_length_mm")
    verdicts = []
    for values in (loose, tight):
        limits = Limits(**dict(zip(keys, values, strict=True)))
        tested = Recipe(name="test", pixel_pitch_mm=0.5, limits={"crack": limits}, other=limits)
        verdicts.append(judge(found, tested)[0])
    assert not (verdicts[0] == "fail" and verdicts[1] == "pass")


@given(found_defects, st.builds(defect, st.sampled_from(CLASSES)), limit_sets)
def test_one_more_defect_never_turns_fail_into_pass(
    found: tuple[Defect, ...], extra: Defect, values: tuple[Any, ...]
) -> None:
    keys = ("max_count", "max_area_px", "max_area_mm2", "max_length_px", "max_length_mm")
    tested = Recipe(name="test", pixel_pitch_mm=0.5, other=Limits(**dict(zip(keys, values, strict=True))))
    if judge(found, tested)[0] == "fail":
        assert judge((*found, extra), tested)[0] == "fail"

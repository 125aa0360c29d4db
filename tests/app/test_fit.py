"""A recipe against a bundle: what does not fit is named with source, line and field."""

from typing import Any

import pytest

from app.inspection.bundle.artifact import OperatingPoint
from app.inspection.errors import RecipeInvalid
from app.inspection.rules.recipe import read_recipe
from app.recipes.state import check_fit
from tests.tiny_bundle import REGIONS
from tests.trade_offs import trade_off

CLASSES = ("crack", "pore")
ZONED = """name: zoned
limits:
  cracks: {max_count: 0}
  pore: {max_count: 1}
zones:
  rim:
    polygon_px: [[0, 0], [9, 0], [9, 9]]
    limits:
      fray: {max_count: 0}
"""


def point(**more: Any) -> OperatingPoint:
    settings = {"pixel_threshold": 0.5, "min_area_px": 4, "image_threshold": 0.5, "head_threshold": 0.5}
    return OperatingPoint.model_validate(settings | {"regions": REGIONS} | more)


def refusal(text: str, table: dict[str, Any] | None = None) -> str:
    with pytest.raises(RecipeInvalid) as caught:
        check_fit(read_recipe(text, "line4.yaml"), CLASSES, point(trade_off=table))
    return str(caught.value)


def test_each_unknown_class_is_named_with_its_line() -> None:
    assert refusal(ZONED) == (
        "line4.yaml: line 3: limits.cracks: no defect class of this model; "
        "line 9: zones.rim.limits.fray: no defect class of this model; its classes are crack, pore"
    )


def test_json_has_lines_too() -> None:
    said = refusal('{"name": "a",\n "limits": {\n  "cracks": {"max_count": 0}}}')
    assert said.startswith("line4.yaml: line 3: limits.cracks: no defect class")


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ("max_escape: 0.001", "line 3: operating_point.max_escape: 0.001 is not proven; the best possible"),
        ("image_threshold: 0.999", "line 3: operating_point.image_threshold: 0.999 is beyond the trade-off"),
    ],
)
def test_an_operating_point_that_cannot_be_kept_is_named_with_its_line(choice: str, says: str) -> None:
    assert says in refusal(f"name: a\noperating_point:\n  {choice}\n", trade_off())


def test_without_a_table_no_operating_point_fits() -> None:
    said = refusal("name: a\noperating_point: {max_escape: 0.5}\nlimits: {fray: {max_count: 0}}\n")
    assert "line 3: limits.fray: no defect class" in said
    assert "line 2: operating_point: the bundle holds no trade-off table" in said


def test_what_fits_is_accepted() -> None:
    text = "name: a\nlimits: {pore: {max_count: 0}}\noperating_point: {max_overkill: 0.1}\n"
    check_fit(read_recipe(text, "a.yaml"), CLASSES, point(trade_off=trade_off()))


def test_joint_parts_need_a_part_model() -> None:
    text = "name: a\nparts: joint\n"
    assert refusal(text).startswith("line4.yaml: line 2: parts: the bundle holds no part model")
    model = {"mean_logit": 1, "max_logit": 1, "bias": 0, "part_threshold": 0.5}
    check_fit(read_recipe(text, "a.yaml"), CLASSES, point(parts=model))
    check_fit(read_recipe("name: a\nparts: worst\n", "a.yaml"), CLASSES, point())

"""A recipe moves the operating point along the bundle's trade-off, and only there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.inspection.bundle.bundle import Bundle
from app.inspection.errors import BundleInvalid, RecipeInvalid
from app.inspection.inspector import Inspector
from app.inspection.results import Inspection
from app.inspection.rules.recipe import PointChoice, Recipe, parse_recipe
from tests.tiny_bundle import peak_of, png, tiny_picture
from tests.trade_offs import THRESHOLDS, trade_off, write_bundle_with_trade_off

LOW, OWN, HIGH = THRESHOLDS


@pytest.fixture(scope="module")
def movable(tmp_path_factory: pytest.TempPathFactory) -> Inspector:
    bundle = write_bundle_with_trade_off(tmp_path_factory.mktemp("bundle"))
    return Inspector.load(bundle, device="cpu", threads=1)


def _recipe(**choice: Any) -> Recipe:
    return Recipe(name="moved", operating_point=PointChoice(**choice))


def _inspect(inspector: Inspector, image_probability: float, recipe: Recipe | None = None) -> Inspection:
    """Inspect an image with a rectangle that the tiny bundle's region model gives that probability."""
    picture = tiny_picture(64, 64, dark=(20, 20, 10, 10))
    picture[picture == 10] = round(255 * (1 - peak_of(image_probability)) / 2)
    found = inspector.inspect(png(picture), recipe)
    assert found.image_probability == pytest.approx(image_probability, abs=0.02)
    return found


def test_recipe_moves_the_threshold_and_with_it_mask_and_verdict(movable: Inspector) -> None:
    own = _inspect(movable, 0.7)
    assert (own.verdict, own.image_threshold) == ("fail", OWN)
    moved = _inspect(movable, 0.7, _recipe(max_overkill=0.1))
    assert (moved.verdict, moved.image_threshold) == ("pass", HIGH)
    assert not moved.label_map.any()
    assert _inspect(movable, 0.9, _recipe(max_overkill=0.1)).verdict == "fail"
    assert _inspect(movable, 0.4).verdict == "pass"
    careful = _inspect(movable, 0.4, _recipe(max_escape=0.07))
    assert (careful.verdict, careful.image_threshold) == ("fail", LOW)
    assert careful.label_map.any()
    assert _inspect(movable, 0.4).image_threshold == OWN  # nothing of a request is left behind
    movable.self_test()


@pytest.mark.parametrize(
    ("choice", "threshold"),
    [
        ({"max_escape": 0.06}, LOW),
        ({"max_escape": 0.06, "by": "picture"}, OWN),
        ({"max_escape": 0.5}, HIGH),
        ({"max_overkill": 0.06}, HIGH),
        ({"max_overkill": 0.18}, OWN),
        ({"max_overkill": 0.09, "by": "picture"}, OWN),
        ({"max_overkill": 0.9}, LOW),
        ({"image_threshold": 0.42}, 0.42),
    ],
)
def test_row_within_the_limit_that_errs_least_the_other_way(
    movable: Inspector, choice: dict[str, Any], threshold: float
) -> None:
    assert movable.operating_point(_recipe(**choice)).image_threshold == threshold


def test_among_rows_equal_by_group_the_one_with_fewer_errors_is_taken(tmp_path: Path) -> None:
    table = trade_off()
    table["rows"][1]["group"] |= {"overkills": 0, "overkill_bound": 0.06}  # as in the last row
    equal = Inspector.load(write_bundle_with_trade_off(tmp_path, table), "cpu", 1)
    assert equal.operating_point(_recipe(max_escape=0.5)).image_threshold == OWN


def test_rates_are_not_claimed_of_another_threshold(movable: Inspector) -> None:
    own = movable.session.artifact.operating_point
    moved = movable.operating_point(_recipe(max_overkill=0.1))
    assert own.expected is not None
    assert moved.expected is None
    assert (moved.pixel_threshold, moved.min_area_px) == (own.pixel_threshold, own.min_area_px)
    assert movable.operating_point(Recipe(name="plain")) == own


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (
            {"max_escape": 0.05},
            "max_escape: 0.05 is not proven; the best possible is 0.0600, at 95%",
        ),
        ({"max_overkill": 0.02, "by": "picture"}, "best possible is 0.0300, .* with 100 good images"),
        ({"image_threshold": 0.29}, "goes from 0.3 to 0.8"),
        ({"image_threshold": 1.0}, "goes from 0.3 to 0.8"),
    ],
)
def test_what_the_table_cannot_keep_is_refused(movable: Inspector, choice: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeInvalid, match=f"recipe moved: operating_point.*{said}"):
        _inspect(movable, 0.7, _recipe(**choice))


def test_bundle_without_a_table_has_nothing_to_move_along(inspector: Inspector) -> None:
    with pytest.raises(RecipeInvalid, match="holds no trade-off table"):
        _inspect(inspector, 0.7, _recipe(image_threshold=0.5))


@pytest.mark.parametrize(
    "text",
    ["{}", "{by: image}", "{max_escape: 0.1, max_overkill: 0.1}", "{max_escape: 0}", "{max_escape: 1}",
     "{image_threshold: 0}", "{max_escape: 0.1, by: part}", "{image_threshold: 0.5, by: image}"],
)  # fmt: skip
def test_choice_is_refused_unless_it_says_one_thing(text: str) -> None:
    with pytest.raises(RecipeInvalid, match="operating_point"):
        parse_recipe(f"name: wrong\noperating_point: {text}\n", "wrong.yaml")
    good = parse_recipe("name: right\noperating_point: {max_escape: 0.05}\n", "right.yaml").operating_point
    assert good == PointChoice(max_escape=0.05, by="group")


def _swap(rows: list[Any]) -> None:
    rows[0], rows[1] = rows[1], rows[0]


def _lower_a_bound(rows: list[Any]) -> None:
    rows[2]["group"]["escape_bound"] = 0.01  # the walk would stop before a row that looks proven


@pytest.mark.parametrize("wrong", [_swap, _lower_a_bound, list.clear])
def test_table_that_does_not_rise_is_refused(tmp_path: Path, wrong: Callable[[list[Any]], None]) -> None:
    table = trade_off()
    wrong(table["rows"])
    with pytest.raises(BundleInvalid, match="trade_off"):
        Bundle.load(write_bundle_with_trade_off(tmp_path, table))


def test_label_map_is_the_one_at_the_point_in_force(movable: Inspector) -> None:
    picture = png(tiny_picture(64, 64, dark=(20, 20, 10, 10)))
    for recipe in (Recipe(name="own"), _recipe(image_threshold=0.8)):
        assert np.count_nonzero(movable.inspect(picture, recipe).label_map) == 100

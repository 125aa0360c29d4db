"""What every verdict has in common, whatever the label map and the recipe."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.inspection.measuring.findings import find
from app.inspection.measuring.measure import measure
from app.inspection.results import Defect, Findings, Reason, Verdict, ZoneDefects
from app.inspection.rules.recipe import Recipe, parse_recipe
from app.inspection.rules.verdict import doubts_about, judge
from tests.inspection.formed import regions_in
from tests.inspection.rules import (
    CLASSES,
    HEIGHT,
    SEVERITIES,
    WIDTH,
    Content,
    in_mm,
    label_maps,
    recipes,
    tightenings,
)

RANK = {"pass": 0, "review": 1, "fail": 2}
MANY = settings(max_examples=60, deadline=None)


def recipe_of(content: Content) -> Recipe:
    return parse_recipe(json.dumps(content), "random.json")


def judged(
    label_map: NDArray[np.uint8], recipe: Recipe, dice: float | None = 0.8, head: float = 1.0
) -> tuple[Verdict, tuple[Reason, ...]]:
    """The verdict on a label map by a recipe, as the inspector comes to it."""
    estimated = dice if label_map.any() else None
    doubts = doubts_about(None if label_map.any() else head, 0.5, estimated, recipe)
    return judge(find(label_map, None, CLASSES, recipe), recipe, SEVERITIES, doubts)


@MANY
@given(label_maps(), recipes())
def test_verdict_follows_from_label_map_and_recipe(label_map: NDArray[np.uint8], content: Content) -> None:
    recipe = recipe_of(content)
    verdict, reasons = judged(label_map, recipe)
    certain = (label_map > 0).astype(np.uint8) * 255
    read_back = Recipe.model_validate_json(recipe.model_dump_json())
    again = find(label_map.copy(), regions_in(label_map, certain), CLASSES, read_back)
    head, dice = (None, 0.8) if label_map.any() else (1.0, None)
    doubts = doubts_about(head, 0.5, dice, recipe)
    assert judge(again, recipe, SEVERITIES, doubts) == (verdict, reasons)
    assert (verdict == "pass") == (not reasons)
    assert (verdict == "fail") == any(each.verdict == "fail" for each in reasons)


@MANY
@given(label_maps(), recipes())
def test_reasons_say_what_was_beyond_which_limit(label_map: NDArray[np.uint8], content: Content) -> None:
    recipe = recipe_of(content)
    defects = find(label_map, None, CLASSES, recipe).defects
    verdicts = []
    for each in judged(label_map, recipe)[1]:
        verdicts.append(each.verdict)
        beyond = each.measured < each.limit if each.rule == "min_distance" else each.measured > each.limit
        assert beyond or each.rule in ("head_without_mask", "low_confidence")
        assert each.zone is None or each.zone in recipe.zones
        if each.defect is not None:
            assert defects[each.defect].defect_class == each.defect_class
        if each.rule == "max_area" and each.zone is None and each.defect is not None:
            assert defects[each.defect].area_px == each.measured
    assert verdicts == sorted(verdicts), "fail stands before review"


@MANY
@given(st.data(), label_maps(), recipes())
def test_tighter_limits_never_make_a_verdict_milder(
    data: st.DataObject, label_map: NDArray[np.uint8], content: Content
) -> None:
    tighter = recipe_of(data.draw(tightenings(content)))
    before, after = judged(label_map, recipe_of(content))[0], judged(label_map, tighter)[0]
    assert RANK[after] >= RANK[before]


@MANY
@given(label_maps(width=20), recipes(), st.sampled_from(range(1, 4)), st.integers(1, 8), st.integers(1, 8))
def test_one_more_region_never_turns_fail_into_pass(
    label_map: NDArray[np.uint8], content: Content, value: int, width: int, height: int
) -> None:
    recipe = recipe_of(content)
    more = label_map.copy()
    more[3 : 3 + height, 22 : 22 + width] = value  # touches nothing: two that touch are one
    if judged(label_map, recipe)[0] == "fail":
        assert judged(more, recipe)[0] == "fail"


SPECK = measure(np.ones((1, 1), dtype=np.uint8), None, ("crack",), 0.5)[0]


def defects() -> st.SearchStrategy[Defect]:
    number = st.integers(1, 30)

    def build(name: str, area: int, size: int, x: int, near: int) -> Defect:
        return replace(
            SPECK,
            defect_class=name,
            area_px=area,
            length_px=float(size),
            centroid=(float(x), float(x)),
            touches_border=x == 1,
            nearest_px=float(near),
        )

    return st.builds(build, st.sampled_from(CLASSES), number, number, number, number)


@MANY
@given(st.lists(defects(), min_size=1, max_size=6), defects(), st.integers(0, 30), recipes(regions=False))
def test_one_more_defect_in_the_list_never_turns_fail_into_pass(
    found: list[Defect], extra: Defect, near: int, content: Content
) -> None:
    """Of the list, in which the others stay as they are but for what is nearest to them."""
    alone = [replace(found[0], nearest_px=None)] if len(found) == 1 else found
    closer = [replace(each, nearest_px=min(near, each.nearest_px or 0)) for each in found]
    zones = content | {"zones": {"rim": {"polygon_px": [[0, 0], [9, 0], [0, 9]], "other": {"max_count": 1}}}}
    for rules in (content, zones):
        recipe = recipe_of(rules)
        before, after = (
            judge(_findings(each, recipe), recipe, SEVERITIES)[0] for each in (alone, [*closer, extra])
        )
        if before == "fail":
            assert after == "fail"


def _findings(found: list[Defect], recipe: Recipe) -> Findings:
    """With every defect whole in every zone."""
    zones = (ZoneDefects(name, tuple(found), tuple(range(len(found)))) for name in recipe.zones)
    return Findings(tuple(found), tuple(zones))


@MANY
@given(recipes(regions=False), st.integers(1, 3), st.integers(0, 14), st.integers(0, 20), st.integers(1, 9))
def test_part_whose_roi_excludes_its_only_defect_passes(
    content: Content, value: int, x: int, y: int, size: int
) -> None:
    label_map = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    label_map[y : y + size, 16 + x : 16 + x + size] = value
    roi = {"polygon_px": [[0, 0], [16, 0], [16, HEIGHT], [0, HEIGHT]]}
    confident = content | {"min_estimated_dice": 0.5}
    assert judged(label_map, recipe_of(confident | {"roi": [roi]})) == ("pass", ())
    everywhere = {"polygon_px": [[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]]}
    whole = recipe_of(confident | {"roi": [everywhere]})
    assert judged(label_map, whole) == judged(label_map, recipe_of(confident))


@MANY
@given(label_maps(), recipes(), st.floats(0.001, 50))
def test_limits_in_mm_and_in_px_agree(label_map: NDArray[np.uint8], content: Content, pitch: float) -> None:
    frame = {"pixel_pitch_mm": pitch, "part_frame": {"origin_px": [0.25, 0.25]}}
    shifted = _moved(content, -0.25)
    in_px, mm = recipe_of(content | frame), recipe_of(in_mm(shifted, pitch) | frame)
    (verdict, reasons), (same, again) = judged(label_map, in_px), judged(label_map, mm)
    assert verdict == same

    def about(each: Reason) -> tuple[Any, ...]:
        return each.rule, each.defect_class, each.zone, each.defect, each.verdict

    assert sorted(map(repr, map(about, reasons))) == sorted(map(repr, map(about, again)))


def _moved(content: Content, by: float) -> Content:
    """With all polygons moved, for a part frame whose origin lies elsewhere."""
    moved = dict(content)
    if "ignore" in content:
        moved["ignore"] = [{"polygon_px": _shifted(each["polygon_px"], by)} for each in content["ignore"]]
    if "zones" in content:
        moved["zones"] = {
            name: zone | {"polygon_px": _shifted(zone["polygon_px"], by)}
            for name, zone in content["zones"].items()
        }
    return moved


def _shifted(corners: list[list[float]], by: float) -> list[list[float]]:
    return [[x + by, y + by] for x, y in corners]

"""Several images of one part: the part model, and the verdict of the part."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.inspection.errors import RecipeInvalid
from app.inspection.results import Verdict
from app.inspection.rules.part_model import LARGEST_LOGIT, PartModel, part_features
from app.inspection.rules.part_verdict import ImageResult, judge_part
from app.inspection.rules.recipe import parse_recipe

RANK = {"pass": 0, "review": 1, "fail": 2}
MANY = settings(max_examples=60, deadline=None)


def part_model(**changes: Any) -> PartModel:
    return PartModel.model_validate(
        {"mean_logit": 1.0, "max_logit": 0.5, "bias": -1.0, "part_threshold": 0.5} | changes
    )


VERDICTS = st.sampled_from(("pass", "review", "fail"))
IMAGES = st.lists(
    st.builds(ImageResult, st.one_of(VERDICTS, st.none()), st.floats(0, 1)), min_size=1, max_size=8
)
MODELS = st.one_of(
    st.none(),
    st.builds(
        lambda mean, highest, bias, threshold: part_model(
            mean_logit=mean, max_logit=highest, bias=bias, part_threshold=threshold
        ),
        *(st.floats(0.01, 3), st.floats(0, 3), st.floats(-5, 5), st.floats(0.01, 1)),
    ),
)


@pytest.mark.parametrize(
    "changes",
    [
        *({"mean_logit": -0.1}, {"max_logit": math.inf}, {"bias": math.nan}, {"part_threshold": 0}),
        *({"part_threshold": 1.1}, {"mean_logit": 0, "max_logit": 0}, {"weights": {}}, {"parts": -1}),
    ],
)
def test_a_wrong_part_model_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        part_model(**changes)


def test_probability_follows_from_mean_and_maximum_of_clipped_logits() -> None:
    assert part_features([0.0, 1.0]) == (0.0, LARGEST_LOGIT)
    assert part_features([0.5]) == (0.0, 0.0)
    assert part_features([0.2, 0.5]) == pytest.approx((math.log(0.25) / 2, 0.0))
    logit = -1 + 1.0 * math.log(0.25) / 2 + 0.5 * 0
    assert part_model().probability([0.2, 0.5]) == pytest.approx(1 / (1 + math.exp(-logit)))
    assert part_model().probability([0.5, 0.2]) == part_model().probability([0.2, 0.5])


@MANY
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.floats(0, 1))
def test_a_more_probable_image_never_makes_its_part_less_probable(images: list[float], more: float) -> None:
    raised = [max(images[0], more), *images[1:]]
    assert part_model().probability(raised) >= part_model().probability(images)


@MANY
@given(IMAGES)
def test_worst_is_the_worst_verdict_and_an_uninspected_image_is_one_to_review(
    images: list[ImageResult],
) -> None:
    found = judge_part(images, None)
    ranks = [RANK[each.verdict or "review"] for each in images]
    assert RANK[found.verdict] == max(ranks)
    assert found.defect_probability is None
    assert [each.image for each in found.reasons] == sorted(
        (place for place, rank in enumerate(ranks) if rank), key=lambda place: -ranks[place]
    )


@MANY
@given(IMAGES, MODELS)
def test_a_part_passes_only_if_every_image_does(images: list[ImageResult], model: PartModel | None) -> None:
    found = judge_part(images, model)
    assert (found.verdict == "pass") == (not found.reasons)
    if found.verdict == "pass":
        assert {each.verdict for each in images} == {"pass"}
    assert (found.verdict == "fail") == any(each.verdict == "fail" for each in found.reasons)


@MANY
@given(IMAGES, MODELS, st.integers(0, 8), st.floats(0, 1))
def test_adding_a_failing_image_never_makes_a_part_pass(
    images: list[ImageResult], model: PartModel | None, place: int, probability: float
) -> None:
    for verdict in ("fail", "review", None):
        more = [*images[:place], ImageResult(verdict, probability), *images[place:]]
        assert judge_part(more, model).verdict != "pass"


@pytest.mark.parametrize(
    ("images", "verdict", "rules"),
    [
        ((("pass", 0.1), ("pass", 0.2)), "pass", []),
        ((("fail", 0.6), ("pass", 0.01)), "review", ["image_failed"]),
        ((("fail", 0.99), ("pass", 0.9)), "fail", ["joint_probability", "image_failed"]),
        ((("pass", 0.9), ("pass", 0.9)), "fail", ["joint_probability"]),
        ((("review", 0.1), (None, 0.0)), "review", ["image_reviewed", "image_not_inspected"]),
        (((None, 0.0), ("fail", 0.99)), "fail", ["joint_probability", "image_not_inspected", "image_failed"]),
    ],
)
def test_joint_probability_decides(
    images: tuple[tuple[Verdict | None, float], ...], verdict: Verdict, rules: list[str]
) -> None:
    found = judge_part([ImageResult(*each) for each in images], part_model())
    assert (found.verdict, [each.rule for each in found.reasons]) == (verdict, rules)
    for reason in found.reasons:
        if reason.rule == "joint_probability":
            assert (reason.measured, reason.limit) == (found.defect_probability, 0.5)
            assert reason.image is None


def test_what_the_input_gate_stops_does_not_count_for_the_joint_probability() -> None:
    sure, blurred = ImageResult("pass", 0.1), ImageResult("review", 1.0, ("blur", "max_count"))
    found = judge_part([sure, blurred], part_model())
    assert found.verdict == "review"
    assert found.defect_probability == part_model().probability([0.1])
    assert found.reasons[0].rules == ("blur", "max_count")
    alone = judge_part([blurred, ImageResult(None, problem="image_empty")], part_model())
    assert (alone.verdict, alone.defect_probability) == ("review", None)
    assert alone.reasons[1].problem == "image_empty"


def test_a_part_has_an_image() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        judge_part([], None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("limits: {crack: {max_count: 1}}", "limits.crack: must be max_count: 0"),
        ("severities: {minor: {max_area_px: 5}}", "severities.minor: must be max_count: 0"),
        ("other: {max_area_px: 5}", "other: must be max_count: 0"),
        ("ignore: [{polygon_px: [[0, 0], [9, 0], [9, 9]]}]", "parts: joint counts the whole image"),
        ("roi: part", "parts: joint counts the whole image"),
        ("min_area_px: 200", "parts: joint is calibrated with the bundle's least area"),
        ("pixel_pitch_mm: 0.1\nmin_area_mm2: 2", "parts: joint is calibrated with the bundle's least area"),
    ],
)
def test_joint_is_for_recipes_that_accept_no_defect_anywhere(text: str, says: str) -> None:
    with pytest.raises(RecipeInvalid, match=says):
        parse_recipe(f"name: a\nparts: joint\n{text}\n", "a.yaml")
    assert parse_recipe(f"name: a\n{text}\n", "a.yaml").parts == "worst"


def test_joint_may_have_reviews_and_zones_beside() -> None:
    more = "review: {other: {max_count: 0}}\nborder: review\nlimits: {crack: {max_count: 0}}\n"
    assert parse_recipe(f"name: a\nparts: joint\n{more}", "a.yaml").parts == "joint"

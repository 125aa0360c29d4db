"""Regions, zones and the least estimated Dice of a recipe, over HTTP."""

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.inspection.mask_formats import from_png
from app.inspection.measuring.findings import find
from app.inspection.rules.recipe import parse_recipe
from app.inspection.rules.verdict import doubts_about, judge
from tests.app.test_inspections import CLASSES, post, refused, speckled
from tests.tiny_bundle import png, tiny_picture

RIGHT = """
name: right
roi: [{polygon_px: [[33, 0], [80, 0], [80, 96], [33, 96]]}]
"""
ZONED = """
name: zoned
pixel_pitch_mm: 0.5
other: {max_count: 3}
min_estimated_dice: 0.995
ignore: [{polygon_px: [[0, 0], [12, 0], [0, 12]]}]
zones:
  middle:
    polygon_px: [[20, 20], [110, 20], [110, 100], [20, 100]]
    severities: {major: {max_area_mm2: 300}}
    review: {other: {max_density: {count: 1, window_mm: 30}}}
"""


@pytest.fixture(scope="module")
def client(make_client: Callable[..., TestClient], tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    folder: Path = tmp_path_factory.mktemp("regions")
    for name, text in (("right", RIGHT), ("zoned", ZONED)):
        (folder / f"{name}.yaml").write_text(text)
    return make_client(recipes_dir=folder)


def test_defect_outside_of_the_roi_is_in_the_mask_and_not_judged(client: TestClient, dark: bytes) -> None:
    answer = post(client, dark, recipe="right")
    assert (answer["verdict"], answer["reasons"], answer["defects"]) == ("pass", [], [])
    assert from_png(answer["mask"]["data"]).sum() == 108
    assert post(client, png(tiny_picture(96, 80, dark=(30, 9, 9, 9))), recipe="right")["verdict"] == "fail"


def test_picture_that_a_region_does_not_fit_is_a_problem(client: TestClient) -> None:
    files = {"image": ("small.png", png(tiny_picture(96, 30)))}
    response = client.post("/v1/inspections", files=files, data={"recipe": "right"})
    assert "roi.0 holds no pixel" in refused(response, 422, "recipe_does_not_fit")["detail"]


def test_verdict_follows_from_the_answer_and_the_recipe(client: TestClient) -> None:
    rules = parse_recipe(ZONED, "zoned")
    severities = {each["name"]: each["severity"] for each in client.get("/v1/model").json()["classes"]}
    seen = set()
    for seed in range(16):
        answer = post(client, png(speckled(seed)), recipe="zoned")
        label_map = from_png(answer["mask"]["data"])
        head = answer["unexplained_probability"], answer["head_threshold"]
        doubts = doubts_about(*head, answer["dice"]["estimated"]["any_defect"], rules)
        verdict, reasons = judge(find(label_map, None, CLASSES, rules), rules, severities, doubts)
        assert verdict == answer["verdict"]
        assert [(each.rule, each.zone, each.defect, each.verdict) for each in reasons] == [
            (each["rule"], each["zone"], each["defect"], each["verdict"]) for each in answer["reasons"]
        ]
        seen |= {each.zone for each in reasons} | {verdict}
    assert seen == {None, "middle", "pass", "review", "fail"}

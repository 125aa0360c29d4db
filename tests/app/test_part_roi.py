"""`roi: part` over HTTP: what lies outside the part's outline is not judged, and no part is no pass."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from app.inspection.mask_formats import from_png
from app.inspection.measuring.findings import find
from app.inspection.measuring.part_outline import part_doubts, with_part
from app.inspection.results import Part
from app.inspection.rules.recipe import parse_recipe
from app.inspection.rules.verdict import doubts_about, judge
from tests.app.test_dry_run import dry_run
from tests.app.test_explanations import decoded
from tests.app.test_inspections import CLASSES, post
from tests.tiny_bundle import png

PART = """
name: part
roi: {part: {margin_px: 3}}
ignore: [{polygon_px: [[40, 40], [50, 40], [50, 50], [40, 50]]}]
"""
Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def client(make_client: Callable[..., TestClient], tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    folder: Path = tmp_path_factory.mktemp("part")
    (folder / "part.yaml").write_text(PART)
    (folder / "inside.yaml").write_text("name: inside\nroi: {part: {max_share: 0.5}}")
    return make_client(recipes_dir=folder)


def tile(*dark: tuple[int, int]) -> Image:
    """A part that the bundle finds good on a black background, which it takes for a defect; dark places."""
    image = np.zeros((96, 120), dtype=np.uint8)
    image[10:80, 20:110] = 128
    for x, y in dark:
        image[y : y + 6, x : x + 6] = 10
    return image


def recomputed(answer: dict[str, Any], client: TestClient) -> tuple[str, list[str]]:
    """The verdict and its rules from an answer and the recipe alone."""
    recipe = parse_recipe(PART, "part")
    severities = {each["name"]: each["severity"] for each in client.get("/v1/model").json()["classes"]}
    known = Part(**answer["part"])
    found = find(from_png(answer["mask"]["data"]), None, CLASSES, with_part(recipe, known))
    doubts = doubts_about(answer["unexplained_probability"], answer["image_threshold"], None, recipe)
    verdict, reasons = judge(found, recipe, severities, doubts, part_doubts(known, recipe))
    return verdict, [each.rule for each in reasons]


@pytest.mark.parametrize(
    ("dark", "verdict"),
    [((), "pass"), (((42, 42),), "pass"), (((60, 30),), "fail"), (((20, 30),), "fail")],
    ids=["good", "ignored", "inside", "bite out of the side"],
)
def test_only_the_part_is_judged(client: TestClient, dark: tuple[tuple[int, int], ...], verdict: str) -> None:
    answer = post(client, png(tile(*dark)), recipe="part")
    assert answer["verdict"] == verdict
    assert answer["part"]["found"]
    assert from_png(answer["mask"]["data"])[0, 0] == 1, "the mask shows the whole image"
    assert recomputed(answer, client) == (verdict, [each["rule"] for each in answer["reasons"]])


def test_the_whole_image_would_fail(client: TestClient) -> None:
    answer = post(client, png(tile()))
    assert (answer["verdict"], answer["part"]) == ("fail", None)


def test_outline_follows_the_part(client: TestClient) -> None:
    for shift in (-8, 0, 8):
        part = post(client, png(np.roll(tile(), shift, axis=1)), recipe="part")["part"]
        assert min(x for x, _ in part["outline"]) == pytest.approx(19.5 + shift, abs=1)
        assert min(x for x, _ in part["judged"]) == pytest.approx(22.5 + shift, abs=1)


@pytest.mark.parametrize("dark", [(), ((60, 30),)], ids=["good", "defective"])
def test_part_that_is_not_found_is_a_review(client: TestClient, dark: tuple[tuple[int, int], ...]) -> None:
    answer = post(client, png((tile(*dark) * 0.1).astype(np.uint8)), recipe="part")
    assert answer["verdict"] == "review"
    assert answer["reasons"][0] == {
        "rule": "part_not_found", "defect_class": None, "measured": 0.0, "limit": 0.25, "unit": "share",
        "zone": None, "defect": None, "verdict": "review",
    }  # fmt: skip
    assert answer["part"] == {"found": False, "share": 0.0, "outline": None, "judged": None}
    assert recomputed(answer, client)[0] == "review"


def test_share_above_the_limit_is_told(client: TestClient) -> None:
    reason = post(client, png(tile()), recipe="inside")["reasons"][0]
    assert (reason["rule"], reason["limit"]) == ("part_not_found", 0.5)
    assert reason["measured"] == pytest.approx(70 * 90 / (96 * 120), abs=0.01)


def test_overlay_and_certificate(client: TestClient) -> None:
    answer = post(client, png(tile()), "?overlay=true&certificate=true", recipe="part")
    drawn = decoded(answer["overlay"])
    assert len(np.unique(drawn[30, 18:30].reshape(-1, 3), axis=0)) > 2, "the line of the outline"
    unseen = post(client, png(np.zeros((96, 120), dtype=np.uint8)), "?certificate=true", recipe="part")
    assert (
        "hare of the image inside the part&#39;s outline 0, below the limit of 0.25" in unseen["certificate"]
    )


def test_dry_run_judges_by_the_part(client: TestClient) -> None:
    candidate = PART.replace("name: part", "name: new")
    (item,) = dry_run(client, candidate, [png(tile())]).json()["results"]
    assert (item["now"]["verdict"], item["then"]["verdict"]) == ("fail", "pass")

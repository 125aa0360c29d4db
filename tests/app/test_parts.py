"""POST /v1/parts: several images, one verdict."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.inspection.rules.part_model import PartModel
from tests.app.test_inspections import post, refused
from tests.tiny_bundle import png, tiny_picture, write_tiny_bundle

MODEL = {"mean_logit": 1.0, "max_logit": 0.5, "bias": 0.0, "part_threshold": 0.5}
JOINT = "name: joint\nparts: joint\nother: {max_count: 0}\n"


@pytest.fixture(scope="module")
def joint_client(
    make_client: Callable[..., TestClient], tmp_path_factory: pytest.TempPathFactory
) -> TestClient:
    """A service with a part model, and a recipe that asks for it."""
    folder = tmp_path_factory.mktemp("joint")
    bundle = write_tiny_bundle(folder / "bundle")
    manifest = json.loads((bundle / "bundle.json").read_text())
    manifest["artifacts"][0]["operating_point"]["parts"] = MODEL
    (bundle / "bundle.json").write_text(json.dumps(manifest))
    recipes = folder / "recipes"
    recipes.mkdir()
    (recipes / "joint.yaml").write_text(JOINT)
    return make_client(bundle_dir=bundle, recipes_dir=recipes)


def send(client: TestClient, images: list[bytes], query: str = "", **fields: str) -> Any:
    files = [("image", (f"{number}.png", data)) for number, data in enumerate(images)]
    return client.post(f"/v1/parts{query}", files=files, data=fields)


def part(client: TestClient, images: list[bytes], query: str = "", **fields: str) -> dict[str, Any]:
    response = send(client, images, query, **({"part_id": "p-1"} | fields))
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def said(answer: dict[str, Any]) -> list[tuple[str, int | None, str]]:
    return [(each["rule"], each["image"], each["verdict"]) for each in answer["reasons"]]


def test_worst_verdict_of_the_images_is_that_of_the_part(
    client: TestClient, dark: bytes, clean: bytes
) -> None:
    doubtful = png(tiny_picture(96, 80, dark=(40, 40, 1, 1)))
    assert (part(client, [clean, clean])["verdict"], part(client, [clean, clean])["reasons"]) == ("pass", [])
    assert part(client, [clean, doubtful])["verdict"] == "review"
    answer = part(client, [clean, doubtful, dark], camera_id="c")
    assert (answer["verdict"], answer["rule"]) == ("fail", "worst")
    assert said(answer) == [("image_failed", 2, "fail"), ("image_reviewed", 1, "review")]
    assert [each["rules"] for each in answer["reasons"]] == [["max_count"], ["head_without_mask"]]
    assert (answer["defect_probability"], answer["part_threshold"]) == (None, None)
    assert (answer["part_id"], answer["camera_id"], answer["recipe"]) == ("p-1", "c", "tiny")
    assert [each["filename"] for each in answer["images"]] == ["0.png", "1.png", "2.png"]


def test_each_image_is_inspected_as_alone(client: TestClient, dark: bytes, clean: bytes) -> None:
    images = part(client, [dark, clean], "?mask=rle", recipe="strict")["images"]
    for data, item in zip((dark, clean), images, strict=True):
        alone = post(client, data, "?mask=rle", recipe="strict", part_id="p-1")
        for changing in ("id", "timings_ms"):
            alone.pop(changing)
            item["inspection"].pop(changing)
        assert item["inspection"] == alone


def test_joint_probability_decides_where_the_recipe_says_so(
    joint_client: TestClient, dark: bytes, clean: bytes
) -> None:
    model = PartModel.model_validate(MODEL)
    for images, verdict, rules in (
        ([clean] * 2, "pass", []),
        ([dark] * 2, "fail", ["joint_probability", "image_failed", "image_failed"]),
        ([clean] * 5 + [dark], "review", ["image_failed"]),
    ):
        answer = part(joint_client, images, recipe="joint")
        levels = [each["inspection"]["image_probability"] for each in answer["images"]]
        assert answer["defect_probability"] == pytest.approx(model.probability(levels))
        assert (answer["rule"], answer["part_threshold"]) == ("joint", 0.5)
        assert (answer["verdict"], [each["rule"] for each in answer["reasons"]]) == (verdict, rules)
    assert part(joint_client, [clean, dark])["rule"] == "worst"  # the bundle's own recipe


def test_joint_is_refused_without_a_part_model(
    make_client: Callable[..., TestClient], folder: Path, clean: bytes
) -> None:
    client = make_client(recipes_dir=folder)
    response = client.put("/v1/recipes/joint", content=JOINT, headers={"Content-Type": "application/yaml"})
    assert (
        "line 2: parts: the bundle holds no part model" in refused(response, 422, "recipe_invalid")["detail"]
    )
    (folder / "joint.yaml").write_text(JOINT)
    misfit = make_client(recipes_dir=folder)
    refused(send(misfit, [clean, clean], part_id="p", recipe="joint"), 422, "recipe_invalid")


def test_an_image_that_cannot_be_inspected_is_never_a_pass(
    client: TestClient, joint_client: TestClient, dark: bytes, clean: bytes
) -> None:
    for answer in (
        part(client, [clean, dark[:100], clean]),
        part(joint_client, [clean, dark[:100], clean], recipe="joint"),
    ):
        assert (answer["verdict"], said(answer)) == ("review", [("image_not_inspected", 1, "review")])
        assert answer["reasons"][0]["problem"] == answer["images"][1]["problem"]["code"] == "image_truncated"
        assert answer["images"][1]["inspection"] is None
    assert part(client, [b"", dark])["verdict"] == "fail"  # what fails a part is not hidden by it


def test_a_part_without_an_image_that_can_be_inspected_is_a_problem(client: TestClient, dark: bytes) -> None:
    refused(send(client, [dark[:100], b"text"], part_id="p"), 400, "image_truncated")


def test_two_images_at_least_and_a_batch_at_most(
    make_client: Callable[..., TestClient], client: TestClient, clean: bytes
) -> None:
    for count in (0, 1):
        other = [("image", clean)] * count or [("recipe", b"tiny")]
        response = client.post("/v1/parts", files=other, data={"part_id": "p"})
        problem = refused(response, 422, "request_invalid")
        assert problem["fields"][0]["field"] == "form.image"
    refused(send(client, [b"x"] * 65, part_id="p"), 413, "batch_too_large")
    few = make_client(max_batch_images=3, max_batch_bytes=5000, max_upload_bytes=5000)
    assert len(part(few, [clean] * 3)["images"]) == 3
    refused(send(few, [clean] * 4, part_id="p"), 413, "batch_too_large")
    refused(send(few, [bytes(3000)] * 2, part_id="p"), 413, "body_too_large")


def test_a_part_has_an_id_in_the_form_or_the_query(client: TestClient, clean: bytes) -> None:
    problem = refused(send(client, [clean, clean]), 422, "request_invalid")
    assert problem["fields"] == [{"field": "form.part_id", "message": "is missing"}]
    assert send(client, [clean, clean], "?part_id=p-2").json()["part_id"] == "p-2"
    refused(send(client, [clean, clean], "?part_id=p-2", part_id="p-2"), 422, "request_invalid")


@pytest.mark.parametrize("query", ["?overlay=true", "?recipe=nope", "?mask=gif"])
def test_what_is_wrong_for_all_images_is_said_once(client: TestClient, clean: bytes, query: str) -> None:
    response = send(client, [clean, clean], query, part_id="p")
    refused(response, 422, "recipe_unknown" if "recipe" in query else "request_invalid")


def test_a_part_is_a_form(client: TestClient, clean: bytes) -> None:
    raw = client.post("/v1/parts", content=clean, headers={"Content-Type": "image/png"})
    refused(raw, 415, "media_type_unsupported")


def test_a_part_out_of_time_is_a_problem(make_client: Callable[..., TestClient]) -> None:
    client = make_client(workers=1)
    files = [("image", png(tiny_picture(1500, 1500)))] * 2
    headers = {"X-Deadline-Ms": "1"}
    response = client.post("/v1/parts?mask=none&part_id=p", files=files, headers=headers)
    refused(response, 504, "deadline_exceeded")


def test_parts_are_counted_beside_their_images(
    make_client: Callable[..., TestClient], dark: bytes, clean: bytes
) -> None:
    client = make_client()
    part(client, [clean, dark])
    metrics = client.get("/metrics").text
    assert 'passline_parts_total{rule="worst",verdict="fail"} 1.0' in metrics
    assert 'passline_inspections_total{recipe="tiny",verdict="fail"} 1.0' in metrics

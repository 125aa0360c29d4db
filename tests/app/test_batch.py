"""POST /v1/inspections/batch: one result each, and nothing of one image touches another."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.app.test_inspections import post, refused, speckled
from tests.tiny_bundle import png, tiny_picture


def batch(client: TestClient, pictures: list[bytes], query: str = "", **fields: str) -> dict[str, Any]:
    files = [("images", (f"{number}.png", data)) for number, data in enumerate(pictures)]
    response = client.post(f"/v1/inspections/batch{query}", files=files, data=fields)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_each_picture_has_its_result_in_order(client: TestClient, dark: bytes, clean: bytes) -> None:
    review = png(tiny_picture(96, 80, dark=(40, 40, 1, 1)))
    answer = batch(client, [dark, b"", clean, dark[:100], review, b"text"])
    assert answer["counts"] == {"images": 6, "passed": 1, "failed": 1, "review": 1, "problems": 3}
    results = answer["results"]
    assert [each["filename"] for each in results] == [f"{number}.png" for number in range(6)]
    assert [each["inspection"] and each["inspection"]["verdict"] for each in results] == [
        *("fail", None, "pass"),
        *(None, "review", None),
    ]
    assert [each["problem"] and each["problem"]["code"] for each in results] == [
        *(None, "image_empty", None),
        *("image_truncated", None, "image_unsupported"),
    ]


def test_an_answer_does_not_depend_on_what_else_is_in_the_batch(client: TestClient) -> None:
    pictures = [png(speckled(seed)) for seed in range(8)]
    together = batch(client, [*pictures, b"broken"], recipe="strict", part_id="p")["results"]
    for picture, result in zip(pictures, together, strict=False):
        alone = post(client, picture, recipe="strict", part_id="p")
        for changing in ("id", "timings_ms"):
            alone.pop(changing)
            result["inspection"].pop(changing)
        assert result["inspection"] == alone


def test_options_are_for_every_picture(client: TestClient, dark: bytes) -> None:
    answer = batch(client, [dark, dark], "?mask=none&overlay=false&camera_id=c", recipe="generous")
    for each in answer["results"]:
        inspection = each["inspection"]
        assert inspection["mask"] == {"format": "none", "data": None}
        assert inspection["overlay"] is None
        assert (inspection["camera_id"], inspection["recipe"]) == ("c", "generous")


def test_a_batch_larger_than_the_queue_is_judged_whole(
    make_client: Callable[..., TestClient], dark: bytes
) -> None:
    client = make_client(queue_size=1, workers=1)
    assert batch(client, [dark] * 12)["counts"]["failed"] == 12


def test_a_batch_out_of_time_says_so_for_each_picture_left(
    make_client: Callable[..., TestClient], dark: bytes
) -> None:
    client = make_client(workers=1)
    files = [("images", png(tiny_picture(1500, 1500)))] * 5
    response = client.post("/v1/inspections/batch?mask=none", files=files, headers={"X-Deadline-Ms": "20"})
    answer = response.json()
    assert answer["counts"]["problems"] > 0
    assert {each["problem"]["code"] for each in answer["results"] if each["problem"]} == {"deadline_exceeded"}
    assert post(client, dark)["verdict"] == "fail"


def test_too_many_pictures_are_refused_as_a_whole(
    make_client: Callable[..., TestClient], clean: bytes
) -> None:
    client = make_client(max_batch_images=3)
    assert batch(client, [clean] * 3)["counts"]["passed"] == 3
    response = client.post("/v1/inspections/batch", files=[("images", clean)] * 4)
    refused(response, 413, "batch_too_large")


@pytest.mark.parametrize("query", ["?recipe=nope", "?mask=gif"])
def test_what_is_wrong_for_all_is_said_once(client: TestClient, clean: bytes, query: str) -> None:
    response = client.post(f"/v1/inspections/batch{query}", files=[("images", clean)] * 2)
    refused(response, 422, "recipe_unknown" if "recipe" in query else "request_invalid")


@pytest.mark.parametrize(
    ("option", "those"),
    [("overlay", "overlays"), ("heatmap", "heat maps"), ("certificate", "certificates")],
)
def test_a_batch_has_no_explanations(client: TestClient, clean: bytes, option: str, those: str) -> None:
    response = client.post(f"/v1/inspections/batch?{option}=true", files=[("images", clean)])
    problem = refused(response, 422, "request_invalid")
    assert problem["fields"] == [
        {
            "field": f"query.{option}",
            "message": f"a batch has no {those}; ask for them one image at a time",
        }
    ]


def test_a_batch_is_a_form_with_pictures(client: TestClient, clean: bytes) -> None:
    raw = client.post("/v1/inspections/batch", content=clean, headers={"Content-Type": "image/png"})
    refused(raw, 415, "media_type_unsupported")
    empty = client.post("/v1/inspections/batch", files={"other": clean})
    assert refused(empty, 422, "request_invalid")["fields"][0]["field"] == "form.other"

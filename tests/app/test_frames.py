"""A camera's buffer over HTTP: as the body, in a form, and in a batch."""

import hashlib
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.app.test_inspections import refused
from tests.tiny_bundle import tiny_picture

DARK = tiny_picture(96, 80, dark=(20, 30, 12, 9))
MONO8: dict[str, Any] = {"width": 80, "height": 96, "pixel_format": "Mono8"}
MONO12: dict[str, Any] = MONO8 | {"pixel_format": "Mono12"}
FRAME = "application/octet-stream"


def send(client: TestClient, data: bytes, media_type: str = FRAME, **query: Any) -> Any:
    return client.post("/v1/inspections", params=query, content=data, headers={"Content-Type": media_type})


def without_own(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key not in ("id", "timings_ms", "image")}


def test_a_frame_is_judged_as_its_picture_is(client: TestClient, dark: bytes) -> None:
    expected = send(client, dark, "image/png").json()
    assert expected["verdict"] == "fail"
    twelve = (DARK.astype("<u2") << 4) | 5
    padded = np.pad(DARK, ((0, 0), (0, 16)))
    for data, query in (
        (DARK.tobytes(), MONO8),
        (twelve.tobytes(), MONO12),
        (padded.tobytes(), MONO8 | {"stride": 96}),
        (np.dstack([DARK] * 3).tobytes(), MONO8 | {"pixel_format": "BGR8"}),
    ):
        answer = send(client, data, **query).json()
        assert without_own(answer) == without_own(expected)
        digest = hashlib.sha256(data).hexdigest()
        name = query["pixel_format"]
        assert answer["image"] == {"width": 80, "height": 96, "sha256": digest, "pixel_format": name}


def test_what_is_drawn_for_people_works_from_a_frame_too(client: TestClient) -> None:
    asked: dict[str, Any] = {"overlay": True, "heatmap": True, "certificate": True}
    answer = send(client, DARK.tobytes(), **MONO8, **asked).json()
    assert all(answer[name] for name in asked)


def test_in_a_form_the_query_says_what_the_frame_is(client: TestClient, dark: bytes) -> None:
    def form(media_type: str, data: bytes, **query: Any) -> Any:
        files = {"image": ("frame.raw", data, media_type)}
        return client.post("/v1/inspections", params=query, files=files, data={"part_id": "7"})

    answer = form(FRAME, DARK.tobytes(), **MONO8).json()
    assert (answer["verdict"], answer["part_id"], answer["image"]["pixel_format"]) == ("fail", "7", "Mono8")
    assert form(FRAME, dark).json()["verdict"] == "fail", "many clients call any file an octet stream"
    refused(form("image/png", dark, **MONO8), 422, "request_invalid")


def test_a_batch_of_frames_has_one_size_and_format(client: TestClient) -> None:
    frames = [DARK.tobytes(), tiny_picture(96, 80).tobytes(), DARK.tobytes()[1:]]
    files = [("images", (f"{n}.raw", data, FRAME)) for n, data in enumerate(frames)]
    results = client.post("/v1/inspections/batch", params=MONO8, files=files).json()["results"]
    assert [each["inspection"]["verdict"] for each in results[:2]] == ["fail", "pass"]
    assert results[2]["problem"]["code"] == "frame_mismatch"
    assert "7679 bytes" in results[2]["problem"]["detail"]
    assert "7680" in results[2]["problem"]["detail"]


@pytest.mark.parametrize("missing", MONO8)
def test_a_missing_parameter_is_named(client: TestClient, missing: str) -> None:
    query = {name: value for name, value in MONO8.items() if name != missing}
    problem = refused(send(client, DARK.tobytes(), **query), 422, "request_invalid")
    assert [each["field"] for each in problem["fields"]] == [f"query.{missing}"]
    assert "a frame needs width, height, pixel_format" in problem["detail"]


def test_a_frame_that_cannot_be_is_refused(client: TestClient, dark: bytes) -> None:
    data = DARK.tobytes()
    cases: tuple[tuple[dict[str, Any], int, str, str], ...] = (
        (MONO8 | {"pixel_format": "Mono9"}, 422, "request_invalid", "use one of Mono8, Mono10"),
        (MONO8 | {"width": 81}, 400, "frame_mismatch", "are 7776"),
        (MONO8 | {"width": 0}, 422, "request_invalid", "query.width"),
        (MONO8 | {"width": 8, "height": 960}, 422, "image_too_small", "8 x 960"),
        (MONO8 | {"width": 10**6, "height": 10**6}, 413, "image_too_large", "1000000000000 pixels"),
    )
    for query, status, code, words in cases:
        assert words in refused(send(client, data, **query), status, code)["detail"]
    problem = refused(send(client, dark, "image/png", stride=80), 422, "request_invalid")
    assert "query.stride is for frames sent as application/octet-stream" in problem["detail"]
    problem = refused(send(client, dark, "image/png", width=96, stride=96), 422, "request_invalid")
    assert "query.width, query.stride are for frames" in problem["detail"]
    assert {each["message"].partition(" sent")[0] for each in problem["fields"]} == {"is for frames"}

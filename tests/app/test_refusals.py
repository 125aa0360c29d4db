"""POST /v1/inspections, in process: what it does not take, each time with the documented problem."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.api.middleware import MAX_HEADER_BYTES
from app.errors import MOST_FIELDS, DeadlineExceeded
from app.inspection.cancellation import Cancellation
from app.inspection.inspector import Inspector
from app.jobs.answers import inspect_job
from app.jobs.job import Job, Upload
from app.schemas.inspections import Options
from tests.app.test_inspections import post, refused
from tests.inspection.bad_input import BadInput, bad_inputs
from tests.tiny_bundle import png, tiny_picture


@pytest.mark.parametrize(
    ("query", "fields", "field"),
    [
        ("?mask=gif", {}, "query.mask"),
        ("?overlay=perhaps", {}, "query.overlay"),
        ("?overlays=true", {}, "query.overlays"),
        ("?part_id=", {}, "query.part_id"),
        ("?recipe=strict&recipe=generous", {}, "query.recipe"),
        ("", {"part_id": "a\nb"}, "form.part_id"),
        ("", {"camera_id": "c" * 129}, "form.camera_id"),
        ("", {"camera_id": "c" * 2000}, "form.camera_id"),
        ("", {"recipes": "strict"}, "form.recipes"),
        ("?part_id=a", {"part_id": "a"}, "part_id"),
    ],
)
def test_what_is_not_known_is_refused_by_name(
    client: TestClient, dark: bytes, query: str, fields: dict[str, str], field: str
) -> None:
    response = client.post(f"/v1/inspections{query}", files={"image": dark}, data=fields)
    problem = refused(response, 422, "request_invalid")
    assert [each["field"] for each in problem["fields"]] == [field]


def test_an_answer_lists_some_of_many_wrong_fields(client: TestClient) -> None:
    query = "&".join(f"a{n}" for n in range(2500))
    response = client.post(f"/v1/inspections?{query}")
    problem = refused(response, 422, "request_invalid")
    assert len(problem["fields"]) == MOST_FIELDS
    assert problem["detail"].endswith(f"; and {2500 - MOST_FIELDS} more")
    assert len(response.content) < len(query)


def test_a_form_without_a_picture_is_refused(client: TestClient, clean: bytes) -> None:
    response = client.post("/v1/inspections", files={"reference_mask": clean})
    assert refused(response, 422, "request_invalid")["fields"][0]["field"] == "form.image"


@pytest.mark.parametrize("media_type", ["text/plain", "image/gif", None])
def test_other_media_types_are_refused(client: TestClient, dark: bytes, media_type: str | None) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    response = client.post("/v1/inspections", content=dark, headers=headers)
    assert "image/jpeg" in refused(response, 415, "media_type_unsupported")["detail"]


@pytest.mark.parametrize("part", ["value", "name", "query"])
def test_headers_have_their_size(client: TestClient, part: str) -> None:
    spare = MAX_HEADER_BYTES - 512  # for what the client sends besides
    for length, status in ((spare, 200), (MAX_HEADER_BYTES, 431)):
        much = "y" * length
        headers = {"value": {"X-Much": much}, "name": {much: "x"}}.get(part, {})
        response = client.get(f"/healthz?{much if part == 'query' else ''}", headers=headers)
        assert response.status_code == status
    assert str(MAX_HEADER_BYTES) in refused(response, 431, "headers_too_large")["detail"]


@pytest.mark.parametrize("milliseconds", ["0", "-5", "soon", "600001"])
def test_a_deadline_must_make_sense(client: TestClient, dark: bytes, milliseconds: str) -> None:
    response = client.post("/v1/inspections", files={"image": dark}, headers={"X-Deadline-Ms": milliseconds})
    assert refused(response, 422, "request_invalid")["fields"][0]["field"] == "header.X-Deadline-Ms"


def test_a_deadline_is_given_once(client: TestClient, dark: bytes) -> None:
    twice = [("X-Deadline-Ms", "9000"), ("x-deadline-ms", "9000")]
    for path, field in (("/v1/inspections", "image"), ("/v1/inspections/batch", "images")):
        response = client.post(path, files={field: dark}, headers=twice)
        (wrong,) = refused(response, 422, "request_invalid")["fields"]
        assert wrong["field"] == "header.X-Deadline-Ms"
        assert "once" in wrong["message"]


def test_what_comes_too_late_is_not_given(client: TestClient) -> None:
    slow = png(tiny_picture(2100, 2100))
    response = client.post("/v1/inspections", files={"image": slow}, headers={"X-Deadline-Ms": "1"})
    refused(response, 504, "deadline_exceeded")


def test_work_that_is_too_late_leaves_its_thread(bundle_dir: Path) -> None:
    inspector = Inspector.load(bundle_dir, "cpu")
    upload = Upload(None, png(tiny_picture(2100, 2100)))
    over = Cancellation(0.0, lambda: DeadlineExceeded("late"))
    late = Job(inspector, inspector.bundle.default_recipe, upload, Options(), cancellation=over)
    with pytest.raises(DeadlineExceeded):
        inspect_job(late)


def test_an_address_with_a_slash_at_its_end_is_not_served(client: TestClient, dark: bytes) -> None:
    refused(client.post("/v1/inspections/", files={"image": dark}), 404, "not_found")


@pytest.mark.parametrize("bad", bad_inputs(), ids=lambda bad: bad.name)
def test_bad_pictures_give_their_problem_and_leave_the_service_serving(
    client: TestClient, clean: bytes, bad: BadInput
) -> None:
    responses = [client.post("/v1/inspections", files={"image": (bad.name, bad.data, bad.content_type)})]
    if bad.content_type in ("image/jpeg", "image/png", "image/bmp", "image/tiff"):
        headers = {"Content-Type": bad.content_type}
        responses.append(client.post("/v1/inspections", content=bad.data, headers=headers))
    for response in responses:
        if bad.expected is None:
            assert response.json()["verdict"] == "fail"
        else:
            assert 400 <= response.status_code < 500
            refused(response, response.status_code, bad.expected.code)
    assert post(client, clean)["verdict"] == "pass"

"""The OpenAPI document: complete, true, offline, and no request made from it is answered with a 500."""

import re
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from app.examples import BATCH, INSPECTION
from app.main import create_app
from app.problems import TABLE
from app.schemas import BatchAnswer, InspectionAnswer, Problem
from app.settings import Settings
from tests.serving import Serving

POSTS = {"/v1/inspections", "/v1/inspections/batch"}
PATHS = POSTS | {"/v1/model", "/healthz", "/readyz", "/metrics"}
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def document(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


@pytest.fixture(scope="module")
def api(server: Serving) -> Any:
    """The service as schemathesis sees it, over real HTTP."""
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.mark.parametrize(
    ("path", "mode"),
    [(path, "positive") for path in sorted(PATHS)] + [(path, "negative") for path in sorted(POSTS)],
)
def test_no_request_made_from_the_document_gives_a_500(api: Any, path: str, mode: str) -> None:
    operation = api[path]["POST" if path in POSTS else "GET"]

    @settings(
        max_examples=40 if path in POSTS else 3,
        deadline=None,
        derandomize=True,  # CI must not find by chance what nobody changed
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=GenerationMode(mode)))
    def check(case: Any) -> None:
        status = case.call_and_validate(checks=CHECKS).status_code
        in_time = "X-Deadline-Ms" not in case.headers  # it may ask for the impossible
        assert status < 500 or (status == 504 and not in_time)

    check()


def test_every_endpoint_is_documented(document: dict[str, Any]) -> None:
    assert set(document["paths"]) == PATHS
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["summary"]
            assert operation["description"]


def test_every_problem_that_a_request_can_meet_is_documented(document: dict[str, Any]) -> None:
    documented: set[str] = set()
    for path in document["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                problems = response["content"].get("application/problem+json", {}).get("examples", {})
                for code, example in problems.items():
                    problem = Problem.model_validate(example["value"])
                    assert (problem.code, str(problem.status)) == (code, status)
                documented |= problems.keys()
    only_causes = {
        "bundle_invalid",
        "bundle_corrupt",
        "self_test_failed",
        "device_unavailable",
        "recipe_invalid",
    }
    unrouted = {"not_found", "method_not_allowed"}
    assert documented == {error.code for error in TABLE} - only_causes - unrouted


def test_the_worked_examples_are_true_to_the_shapes(document: dict[str, Any]) -> None:
    assert InspectionAnswer.model_validate(INSPECTION).model_dump(mode="json") == INSPECTION
    assert BatchAnswer.model_validate(BATCH).model_dump(mode="json") == BATCH
    for path, example in (("/v1/inspections", INSPECTION), ("/v1/inspections/batch", BATCH)):
        content = document["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]
        assert content["example"] == example


def test_the_picture_may_come_in_every_way_that_is_read(document: dict[str, Any]) -> None:
    content = document["paths"]["/v1/inspections"]["post"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "image/jpeg", "image/png", "image/bmp", "image/tiff"}
    fields = content["multipart/form-data"]["schema"]["properties"]
    assert set(fields) == {"image", "reference_mask", "recipe", "part_id", "camera_id"}


def test_the_page_needs_nothing_from_outside(client: TestClient) -> None:
    page = client.get("/docs").text
    assert not re.findall(r"https?://", page)
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert client.get(f"/{address}").status_code == 200
    assert '"validatorUrl": null' in page  # else it would ask a validator on the internet
    assert client.get("/openapi.json").status_code == 200


def test_the_document_can_be_made_without_a_bundle() -> None:
    assert create_app(Settings()).openapi()["info"]["title"] == "Passline"

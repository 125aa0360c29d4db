"""The OpenAPI document: complete, true, offline, and no request made from it is answered with a 500."""

import re
from collections.abc import Iterator
from pathlib import Path
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

from app.api.examples import BATCH, INSPECTION, PART_OF_TWO
from app.main import create_app
from app.problems import kinds
from app.schemas.inspections import BatchAnswer, InspectionAnswer, PartAnswer, Problem
from app.settings import Settings
from tests.serving import serving

POSTS = {("/v1/inspections", "POST"), ("/v1/inspections/batch", "POST"), ("/v1/parts", "POST")}
CHANGES = {
    *(("/v1/recipes/{name}", method) for method in ("PUT", "DELETE")),
    ("/v1/recipes/dry-run", "POST"),
    ("/v1/activations", "PUT"),
    *(("/v1/bundles/candidate", method) for method in ("PUT", "DELETE")),
    ("/v1/bundles/candidate/promotion", "POST"),
    ("/v1/bundles/rollback", "POST"),
}
RECIPES = {
    *("/v1/recipes", "/v1/recipe-schema", "/v1/recipes/{name}", "/v1/recipes/{name}/versions"),
    "/v1/activations",
}
BUNDLES = {
    *("/v1/bundles", "/v1/bundles/changes", "/v1/bundles/candidate"),
    "/v1/bundles/candidate/disagreements",
}
BARE = {("/v1/bundles/candidate", "DELETE")}  # it takes nothing that could be wrong
HISTORY = {
    *("/v1/inspections", "/v1/inspections/export", "/v1/inspections/{id}", "/v1/inspections/{id}/image"),
    *("/v1/inspections/{id}/thumbnail", "/v1/inspections/{id}/mask", "/v1/inspections/{id}/overlay"),
}
REVIEWS = {
    ("/v1/statistics", "GET"),
    ("/v1/reviews/queue", "GET"),
    ("/v1/reviews/claims", "POST"),
    ("/v1/reviews/claims/{id}", "DELETE"),
    ("/v1/inspections/{id}/reviews", "POST"),
    ("/v1/inspections/{id}/reviews/{number}", "DELETE"),
}
OTHERS = {"/v1/model", "/healthz", "/readyz", "/metrics"}
READS = {(path, "GET") for path in RECIPES | BUNDLES | HISTORY | OTHERS}
PEOPLE = {
    ("/v1/session", "GET"),
    ("/v1/session", "POST"),
    ("/v1/session", "DELETE"),
    ("/v1/session/password", "PUT"),
    ("/v1/users", "GET"),
    ("/v1/users/{name}", "PUT"),
    ("/v1/users/{name}", "DELETE"),
    ("/v1/keys", "GET"),
    ("/v1/audit", "GET"),
}
OPERATIONS = POSTS | CHANGES | READS | REVIEWS | PEOPLE
EXAMPLES = dict.fromkeys(POSTS, 40) | dict.fromkeys(CHANGES, 8)
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
def api(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The service as schemathesis sees it, over real HTTP; it may change recipes and bundles of its own."""
    folder = tmp_path_factory.mktemp("changing")
    places: dict[str, Any] = {"recipes_dir": folder, "bundles_dir": bundle_dir.parent, "history": "sync"}
    with serving(bundle_dir, threads=1, max_upload_bytes=4_000_000, **places) as server:
        yield schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.mark.parametrize(
    ("path", "method", "mode"),
    [(*operation, "positive") for operation in sorted(OPERATIONS)]
    + [(*operation, "negative") for operation in sorted((POSTS | CHANGES) - BARE)],
)
def test_no_request_made_from_the_document_gives_a_500(api: Any, path: str, method: str, mode: str) -> None:
    operation = api[path][method]

    @settings(
        max_examples=EXAMPLES.get((path, method), 3),
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
    found = {(path, method.upper()) for path, those in document["paths"].items() for method in those}
    assert found == OPERATIONS
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["summary"]
            assert operation["description"]


def test_every_problem_that_a_request_can_meet_is_documented(document: dict[str, Any]) -> None:
    documented: set[str] = set()
    for path in document["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                problems = response.get("content", {}).get("application/problem+json", {}).get("examples", {})
                for code, example in problems.items():
                    problem = Problem.model_validate(example["value"])
                    assert (problem.code, str(problem.status)) == (code, status)
                documented |= problems.keys()
    only_causes = {
        "bundle_invalid",
        "bundle_corrupt",
        "database_newer",
        "self_test_failed",
        "device_unavailable",
        "state_invalid",
    }
    unrouted = {"not_found", "method_not_allowed", "http_invalid"}
    assert documented == {error.code for error in kinds()} - only_causes - unrouted


def test_the_worked_examples_are_true_to_the_shapes(document: dict[str, Any]) -> None:
    assert InspectionAnswer.model_validate(INSPECTION).model_dump(mode="json") == INSPECTION
    assert BatchAnswer.model_validate(BATCH).model_dump(mode="json") == BATCH
    assert PartAnswer.model_validate(PART_OF_TWO).model_dump(mode="json") == PART_OF_TWO
    examples = {
        "/v1/inspections": INSPECTION,
        "/v1/inspections/batch": BATCH,
        "/v1/parts": PART_OF_TWO,
    }
    for path, example in examples.items():
        content = document["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]
        assert content["example"] == example


def test_the_picture_may_come_in_every_way_that_is_read(document: dict[str, Any]) -> None:
    content = document["paths"]["/v1/inspections"]["post"]["requestBody"]["content"]
    files = {"image/jpeg", "image/png", "image/bmp", "image/tiff"}
    assert set(content) == {"multipart/form-data", "application/json", "application/octet-stream", *files}
    labels = {"recipe", "part_id", "camera_id", "significant_bits"}
    for either in ("multipart/form-data", "application/json"):
        fields = content[either]["schema"]["properties"]
        assert set(fields) == {"image", "reference_mask", *labels}


def test_the_page_needs_nothing_from_outside(client: TestClient) -> None:
    page = client.get("/docs").text
    assert not re.findall(r"https?://", page)
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert client.get(f"/{address}").status_code == 200
    assert '"validatorUrl": null' in page  # else it would ask a validator on the internet
    assert client.get("/openapi.json").status_code == 200


def test_the_document_can_be_made_without_a_bundle() -> None:
    assert create_app(Settings()).openapi()["info"]["title"] == "Passline"


def test_no_sequence_of_requests_gives_a_500(api: Any) -> None:
    """Each next request is made of what earlier ones answered, by the links that the document implies."""

    class Sequences(api.as_state_machine()):  # type: ignore[misc]
        def validate_response(self, response: Any, case: Any, additional_checks: Any = (), **_: Any) -> None:
            case.validate_response(response, checks=CHECKS)
            in_time = "X-Deadline-Ms" not in case.headers
            assert response.status_code < 500 or (response.status_code == 504 and not in_time)

    Sequences.run(
        settings=settings(
            max_examples=8,
            stateful_step_count=8,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
    )

"""Errors as problems: each has all that a problem needs, and nothing else ever goes out."""

import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.problems import kinds, status_of
from app.settings import Settings
from tests.app.test_inspections import post, refused
from tests.local_client import LocalClient
from tests.tiny_bundle import write_tiny_bundle

MakeClient = Callable[..., TestClient]


def test_every_error_says_what_a_problem_needs() -> None:
    for kind in kinds():
        assert kind.title
        assert 400 <= status_of(kind) < 600
        assert not kind.title.endswith("."), kind


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in kinds()]
    assert len(set(codes)) == len(codes) > 40


def test_a_problem_has_every_member(client: TestClient) -> None:
    response = client.get("/nowhere", headers={"X-Request-ID": "my-id.7"})
    assert refused(response, 404, "not_found") == {
        "type": "urn:passline:problem:not_found",
        "title": "There is nothing at this address",
        "status": 404,
        "detail": "nothing is served at this address; /docs lists what is",
        "code": "not_found",
        "instance": "urn:passline:request:my-id.7",
        "request_id": "my-id.7",
    }
    assert response.headers["X-Request-ID"] == "my-id.7"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a\tb", "<script>"])
def test_request_ids_that_could_garble_a_log_are_replaced(client: TestClient, given: str) -> None:
    response = client.get("/healthz", headers={"X-Request-ID": given})
    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Request-ID"])


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/parts"), ("DELETE", "/v1/model")])
def test_other_methods_are_refused_with_those_there_are(client: TestClient, method: str, path: str) -> None:
    response = client.request(method, path)
    refused(response, 405, "method_not_allowed")
    assert response.headers["Allow"]


def test_an_unforeseen_error_tells_the_log_everything_and_the_client_nothing(
    bundle_dir: Path, clean: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(Settings(bundle_dir=bundle_dir, threads=1))

    def burst() -> None:
        raise ZeroDivisionError("secret detail")

    app.add_api_route("/burst", burst)
    with LocalClient(app) as client, caplog.at_level(logging.ERROR):
        response = client.get("/burst")
        problem = refused(response, 500, "internal_error")
        assert "secret" not in json.dumps(problem)
        assert "ZeroDivisionError" in caplog.text
        assert post(client, clean)["verdict"] == "pass"


def test_too_little_memory_is_told_as_what_it_is(bundle_dir: Path, clean: bytes) -> None:
    app = create_app(Settings(bundle_dir=bundle_dir, threads=1))

    def burst() -> None:
        bytearray(1 << 62)

    app.add_api_route("/burst", burst)
    with LocalClient(app) as client:
        response = client.get("/burst")
        refused(response, 503, "out_of_memory")
        assert response.headers["Retry-After"] == "1"
        assert post(client, clean)["verdict"] == "pass"


def broken_bundles(tmp_path: Path) -> dict[str, Path]:
    """Bundles that must not be served, by the code that says why."""
    folders = {code: tmp_path / code for code in ("bundle_corrupt", "bundle_invalid", "self_test_failed")}
    write_tiny_bundle(folders["bundle_invalid"], schema_version=2)
    write_tiny_bundle(folders["self_test_failed"])
    write_tiny_bundle(folders["bundle_corrupt"])
    (folders["bundle_corrupt"] / "model.onnx").write_bytes(b"another graph")
    manifest = json.loads((folders["self_test_failed"] / "bundle.json").read_text())
    manifest["golden"][0]["verdict"] = "pass"
    (folders["self_test_failed"] / "bundle.json").write_text(json.dumps(manifest))
    return folders


def not_ready(client: TestClient, clean: bytes, cause: str) -> str:
    """Check that a service is up, judges nothing and says why; gives the reason."""
    assert client.get("/healthz").json() == {"status": "ok"}
    refused(client.get("/v1/model"), 503, "not_ready")
    for path, field in (("/v1/inspections", "image"), ("/v1/inspections/batch", "images")):
        refused(client.post(path, files={field: clean}), 503, "not_ready")
    problem = refused(client.get("/readyz"), 503, "not_ready")
    assert problem["cause"]["code"] == cause
    assert problem["cause"]["detail"] in problem["detail"]
    assert "passline_ready 0.0" in client.get("/metrics").text
    detail: str = problem["cause"]["detail"]
    return detail


@pytest.mark.parametrize("cause", ["bundle_corrupt", "bundle_invalid", "self_test_failed"])
def test_a_bundle_that_fails_is_not_served(
    make_client: MakeClient, tmp_path: Path, clean: bytes, cause: str
) -> None:
    assert not_ready(make_client(bundle_dir=broken_bundles(tmp_path)[cause]), clean, cause)


def test_no_bundle_no_readiness(make_client: MakeClient, tmp_path: Path, clean: bytes) -> None:
    client = make_client(bundle_dir=tmp_path / "nowhere")
    assert "nowhere" in not_ready(client, clean, "bundle_corrupt")


def test_cuda_without_cuda_is_no_silent_fall_back(make_client: MakeClient, clean: bytes) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine may have CUDA")
    assert "CUDAExecutionProvider" in not_ready(make_client(device="cuda"), clean, "device_unavailable")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name: a\nlimits: {dark: {max_count: -1}}", "max_count"),
        ("name: strict", "already"),
        ("[", "YAML"),
    ],
)
def test_a_wrong_recipe_is_refused_at_start(
    make_client: MakeClient, recipes_dir: Path, tmp_path: Path, clean: bytes, text: str, reason: str
) -> None:
    folder = tmp_path / "recipes"
    shutil.copytree(recipes_dir, folder)
    (folder / "wrong.yaml").write_text(text)
    assert reason in not_ready(make_client(recipes_dir=folder), clean, "recipe_invalid")


def test_a_default_recipe_that_is_not_there(make_client: MakeClient, clean: bytes) -> None:
    assert "nope" in not_ready(make_client(default_recipe="nope"), clean, "recipe_unknown")


def test_a_recipe_folder_that_is_not_there(make_client: MakeClient, tmp_path: Path, clean: bytes) -> None:
    assert not_ready(make_client(recipes_dir=tmp_path / "nowhere"), clean, "recipe_invalid")


def test_an_app_judges_nothing_before_its_start_and_after_its_stop(bundle_dir: Path, clean: bytes) -> None:
    app = create_app(Settings(bundle_dir=bundle_dir, threads=1))
    early = LocalClient(app)  # outside of `with`: nobody has started the app
    assert "not started" in refused(early.get("/readyz"), 503, "not_ready")["detail"]
    with LocalClient(app) as client:
        assert post(client, clean)["verdict"] == "pass"
    assert "stopped" in refused(early.get("/readyz"), 503, "not_ready")["detail"]

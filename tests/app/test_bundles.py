"""Bundles swapped while the service runs: loaded aside, promoted, gone back from, and never in the way."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.app.test_inspections import post, refused
from tests.app.test_recipes import put
from tests.app.test_telemetry import samples
from tests.tiny_bundle import png, tiny_picture, write_tiny_bundle

MakeClient = Callable[..., TestClient]
LENIENT = "name: tiny\nlimits:\n  dark: {max_area_px: 50}\n"
ONLY_BRIGHT = "name: shiny\nlimits:\n  bright: {max_count: 0}\n"  # which a bundle without that class cannot
SPECK = png(tiny_picture(96, 80, dark=(20, 30, 5, 5)))  # version 1 fails it, version 2 lets it pass
WAIT_S = 100


@pytest.fixture(scope="session")
def bundles_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1; 2, which allows specks of `dark`; and 3, which knows no `bright`."""
    folder = tmp_path_factory.mktemp("bundles")
    write_tiny_bundle(folder / "tiny" / "1")
    write_tiny_bundle(folder / "tiny" / "2", recipe=LENIENT, version="2")
    write_tiny_bundle(folder / "tiny" / "3", classes=("dark",), version="3")
    return folder


@pytest.fixture
def make(make_client: MakeClient, bundles_dir: Path, tmp_path: Path) -> MakeClient:
    """Start the service on version 1 with a folder of data and one of recipes; both are the test's."""

    def start(**changes: Any) -> TestClient:
        (tmp_path / "recipes").mkdir(exist_ok=True)
        own = {"data_dir": tmp_path / "data", "recipes_dir": tmp_path / "recipes"}
        places = {"bundles_dir": bundles_dir, "bundle_dir": bundles_dir / "tiny" / "1"}
        return make_client(**(own | places | changes))

    return start


def propose(client: TestClient, version: str, **more: Any) -> dict[str, Any]:
    """Load a version of the tiny bundle aside and wait for what comes of it."""
    asked = client.put("/v1/bundles/candidate", json={"name": "tiny", "version": version} | more)
    assert asked.status_code == 202, asked.text
    return settled(client)


def settled(client: TestClient) -> dict[str, Any]:
    """The candidate once it has been loaded, or has failed."""
    found: dict[str, Any] = client.get(f"/v1/bundles/candidate?wait_s={WAIT_S}").json()
    assert found["state"] != "loading"
    return found


def promote(client: TestClient, **query: str) -> dict[str, Any]:
    """Have the candidate judge."""
    answer = client.post("/v1/bundles/candidate/promotion", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def judged_by(client: TestClient) -> str:
    """The version that judges, agreed on by everything that tells it, verdict included."""
    answer = post(client, SPECK)
    version: str = answer["model"]["version"]
    assert answer["verdict"] == ("pass" if version == "2" else "fail")
    assert client.get("/readyz").json()["model"] == answer["model"]
    assert client.get("/v1/model").json()["version"] == version
    assert client.get("/v1/bundles").json()["active"]["version"] == version
    infos = [dict(labels)["version"] for name, labels in samples(client) if name == "passline_model_info"]
    assert infos == [version]
    return version


def test_without_a_folder_swapping_is_off_and_says_so(client: TestClient) -> None:
    found = client.get("/v1/bundles").json()
    assert "PASSLINE_BUNDLES_DIR" in found["off"]
    assert (found["available"], found["active"]["how"], found["candidate"]) == ([], "start", None)
    asked = client.put("/v1/bundles/candidate", json={"name": "tiny", "version": "1"})
    assert "PASSLINE_BUNDLES_DIR" in refused(asked, 409, "swapping_off")["detail"]


def test_there_and_back_again(make: MakeClient) -> None:
    client = make()
    listed = client.get("/v1/bundles").json()
    assert [each["version"] for each in listed["available"]] == ["1", "2", "3"]
    assert listed["previous"] is None
    assert judged_by(client) == "1"
    refused(client.post("/v1/bundles/rollback"), 409, "no_previous_bundle")
    refused(client.post("/v1/bundles/candidate/promotion"), 404, "candidate_not_found")
    found = propose(client, "2")
    assert (found["state"], found["problem"], found["obstacle"], found["misfits"]) == (
        "ready",
        None,
        None,
        {},
    )
    assert judged_by(client) == "1"
    other = client.post("/v1/bundles/candidate/promotion?version=3")
    assert "tiny/2 and not tiny/3" in refused(other, 412, "version_stale")["detail"]
    served = promote(client, version="2", who="anna", why="fewer specks")
    assert (served["version"], served["how"], served["who"], served["kept"]) == (
        "2",
        "promotion",
        "anna",
        True,
    )
    assert judged_by(client) == "2"
    now = client.get("/v1/bundles").json()
    assert (now["previous"]["version"], now["candidate"]) == ("1", None)
    refused(client.put("/v1/bundles/candidate", json={"name": "tiny", "version": "2"}), 409, "bundle_in_use")
    back = client.post("/v1/bundles/rollback?who=ben&why=too+lenient").json()
    assert (back["version"], back["how"], back["kept"]) == ("1", "rollback", True)
    assert judged_by(client) == "1"
    refused(client.post("/v1/bundles/rollback"), 409, "no_previous_bundle")
    changes = client.get("/v1/bundles/changes").json()["changes"]
    told = [(each["number"], each["how"], each["version"], each["who"], each["why"]) for each in changes]
    assert told == [
        (1, "promotion", "2", "anna", "fewer specks"),
        (2, "rollback", "1", "ben", "too lenient"),
    ]
    counted = samples(client)
    for how in ("promotion", "rollback"):
        assert counted["passline_bundle_changes_total", (("how", how),)] == 1


def test_a_name_is_never_a_path(make: MakeClient) -> None:
    client = make()
    for name in ("..", "../tiny", "/etc", ".", "a/b", "tiny\n", ""):
        for asked in ({"name": name, "version": "1"}, {"name": "tiny", "version": name}):
            refused(client.put("/v1/bundles/candidate", json=asked), 422, "request_invalid")


def test_no_link_leads_out_of_the_folder(make: MakeClient, bundles_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "linked"
    shutil.copytree(bundles_dir / "tiny" / "1", folder / "tiny" / "1")
    (folder / "tiny" / "2").symlink_to(bundles_dir / "tiny" / "2")
    (folder / "inside").symlink_to(folder / "tiny")
    (folder / "empty" / "1").mkdir(parents=True)
    client = make(bundles_dir=folder)
    listed = [(each["name"], each["version"]) for each in client.get("/v1/bundles").json()["available"]]
    assert listed == [("inside", "1"), ("tiny", "1")]
    for name, version in (("tiny", "2"), ("empty", "1"), ("nowhere", "1")):
        asked = client.put("/v1/bundles/candidate", json={"name": name, "version": version})
        assert "inside/1, tiny/1" in refused(asked, 404, "bundle_not_found")["detail"]


def broken(folder: Path, how: str) -> None:
    """Spoil the tiny bundle in a folder in one way."""
    manifest = json.loads((folder / "bundle.json").read_text())
    graph = folder / "model.onnx"
    match how:
        case "truncated":
            graph.write_bytes(graph.read_bytes()[:-40])
        case "lost":
            graph.unlink()
        case "other schema":
            manifest["schema_version"] = 2
        case "other answers":
            manifest["golden"][0]["verdict"] = "pass"
        case "other name":
            manifest["name"] = "huge"
    (folder / "bundle.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("how", "code", "says"),
    [
        ("truncated", "bundle_corrupt", "SHA-256"),
        ("lost", "bundle_corrupt", "model.onnx"),
        ("other schema", "bundle_invalid", "schema_version"),
        ("other answers", "self_test_failed", "golden"),
        ("other name", "bundle_invalid", "huge/2"),
    ],
)
def test_a_candidate_that_fails_says_why_and_touches_nothing(
    make: MakeClient, bundles_dir: Path, tmp_path: Path, how: str, code: str, says: str
) -> None:
    folder = tmp_path / "bundles"
    for version in ("1", "2"):
        shutil.copytree(bundles_dir / "tiny" / version, folder / "tiny" / version)
    broken(folder / "tiny" / "2", how)
    client = make(bundles_dir=folder)
    found = propose(client, "2")
    assert (found["state"], found["problem"]["code"]) == ("failed", code)
    assert says in found["problem"]["detail"]
    detail = refused(client.post("/v1/bundles/candidate/promotion"), 409, "candidate_not_ready")["detail"]
    assert code in detail
    assert says in detail
    assert judged_by(client) == "1"
    assert samples(client)["passline_candidates_total", (("state", "failed"),)] == 1
    shutil.rmtree(folder / "tiny" / "2")
    shutil.copytree(bundles_dir / "tiny" / "2", folder / "tiny" / "2")
    assert propose(client, "2")["state"] == "ready"  # the same again, once it has been mended
    assert client.delete("/v1/bundles/candidate").json()["state"] == "ready"
    refused(client.delete("/v1/bundles/candidate"), 404, "candidate_not_found")


def test_recipes_in_force_must_fit_when_it_is_loaded_and_when_it_is_promoted(make: MakeClient) -> None:
    client = make()
    assert put(client, "shiny", ONLY_BRIGHT).status_code == 200
    found = propose(client, "3")
    assert (found["state"], found["obstacle"]) == ("ready", None)  # active nowhere
    assert "limits.bright" in found["misfits"]["shiny"]
    assert client.put("/v1/activations", json={"cameras": {"top": "shiny"}}).status_code == 200
    assert "limits.bright" in client.get("/v1/bundles/candidate").json()["obstacle"]
    detail = refused(client.post("/v1/bundles/candidate/promotion"), 422, "recipe_invalid")["detail"]
    assert "limits.bright" in detail
    assert judged_by(client) == "1"
    assert client.get("/v1/bundles/changes").json()["changes"] == []
    client.delete("/v1/bundles/candidate")
    assert propose(client, "3")["problem"]["code"] == "recipe_invalid"
    assert client.put("/v1/activations", json={}).status_code == 200
    assert propose(client, "3")["state"] == "ready"
    promote(client)
    assert judged_by(client) == "3"
    tried = put(client, "shiny", ONLY_BRIGHT + "other: {max_count: 1}\n")
    assert "limits.bright" in refused(tried, 422, "recipe_invalid")["detail"]
    listed = {each["name"]: each["misfit"] for each in client.get("/v1/recipes").json()["recipes"]}
    assert "limits.bright" in listed["shiny"]

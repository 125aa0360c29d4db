"""Recipes that were made for another bundle: they are kept, and only those in force are in the way."""

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.app.conftest import STRICT, change_database, data_of
from tests.app.test_inspections import post, refused
from tests.app.test_recipes import put
from tests.app.test_telemetry import samples
from tests.trade_offs import write_bundle_with_trade_off

MakeClient = Callable[..., TestClient]
CHOOSY = (
    "name: choosy\noperating_point: {max_overkill: 0.1}\n"  # which the tiny bundle, without a table, cannot
)
OTHER_CLASS = "name: elsewhere\nlimits:\n  drak: {max_count: 0}\n"


@pytest.fixture(scope="module")
def movable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle_with_trade_off(tmp_path_factory.mktemp("movable"))


@pytest.fixture
def before(make_client: MakeClient, movable: Path, folder: Path) -> TestClient:
    """A service whose bundle `choosy` fits; it is active nowhere."""
    client = make_client(bundle_dir=movable, recipes_dir=folder)
    assert put(client, "choosy", CHOOSY).status_code == 200
    return client


def test_one_that_is_active_nowhere_is_listed_with_why_it_cannot_be_used(
    make_client: MakeClient, before: TestClient, folder: Path, dark: bytes
) -> None:
    assert before.get("/v1/recipes/choosy").json()["misfit"] is None
    (folder / "elsewhere.yaml").write_text(OTHER_CLASS)
    client = make_client(recipes_dir=folder)
    assert client.get("/readyz").status_code == 200
    assert post(client, dark)["verdict"] == "fail"
    listed = {each["name"]: each["misfit"] for each in client.get("/v1/recipes").json()["recipes"]}
    assert listed["strict"] is None
    assert listed["tiny"] is None
    assert "version 1: line 2: operating_point: the bundle holds no trade-off" in listed["choosy"]
    assert listed["elsewhere"].startswith("elsewhere.yaml: line 3: limits.drak: no defect class")
    assert client.get("/v1/recipes/choosy").json()["text"] == CHOOSY
    for name, why in (("choosy", "line 2: operating_point"), ("elsewhere", "line 3: limits.drak")):
        asked = client.post(f"/v1/inspections?recipe={name}", files={"image": dark})
        assert why in refused(asked, 422, "recipe_invalid")["detail"]
        tried = client.put("/v1/activations", json={"cameras": {"top": name}})
        assert why in refused(tried, 422, "recipe_invalid")["detail"]
    assert client.get("/v1/activations").json()["version"] == 0
    assert put(client, "choosy", "name: choosy\n").json()["misfit"] is None
    assert post(client, dark, recipe="choosy")["recipe_version"] == 2
    assert client.delete("/v1/recipes/elsewhere").status_code == 200


def test_all_in_force_are_named_at_once_and_can_be_mended_over_http(
    make_client: MakeClient, before: TestClient, folder: Path, dark: bytes
) -> None:
    put(before, "second", CHOOSY.replace("choosy", "second"))
    active = {"cameras": {"top": "choosy"}, "parts": {"a*": "second"}}
    assert before.put("/v1/activations", json=active).status_code == 200
    client = make_client(recipes_dir=folder)
    cause = refused(client.get("/readyz"), 503, "not_ready")["cause"]
    assert cause["code"] == "recipe_invalid"
    for says in ("'choosy'", "'second'", "PUT /v1/recipes/NAME", "PUT /v1/activations"):
        assert says in cause["detail"]
    refused(client.post("/v1/inspections", files={"image": dark}), 503, "not_ready")
    assert samples(client)["passline_ready", ()] == 0
    assert client.get("/v1/recipes").json()["recipes"][0]["active"]["cameras"] == ["top"]
    assert put(client, "choosy", "name: choosy\n", If_Match='"1"').json()["version"] == 2
    detail = refused(client.get("/readyz"), 503, "not_ready")["detail"]
    assert "'second'" in detail
    assert "'choosy'" not in detail
    assert client.put("/v1/activations", json={"cameras": {"top": "choosy"}}).status_code == 200
    assert client.get("/readyz").status_code == 200
    assert samples(client)["passline_ready", ()] == 1
    assert post(client, dark, camera_id="top")["recipe_version"] == 2
    assert make_client(recipes_dir=folder).get("/readyz").status_code == 200


def test_the_recipe_of_the_setting_is_in_force(
    make_client: MakeClient, before: TestClient, folder: Path
) -> None:
    client = make_client(recipes_dir=folder, default_recipe="choosy")
    assert "'choosy'" in refused(client.get("/readyz"), 503, "not_ready")["detail"]
    assert client.put("/v1/activations", json={"default": "strict"}).status_code == 200
    assert client.get("/readyz").status_code == 200


def test_a_stored_text_that_is_no_recipe_any_more_is_a_misfit(
    make_client: MakeClient, before: TestClient, folder: Path
) -> None:
    misspell = "UPDATE recipe_changes SET document = replace(document, 'max_overkill', 'max_overkil')"
    change_database(data_of(before), misspell)
    client = make_client(recipes_dir=folder)
    assert client.get("/readyz").status_code == 200
    assert "max_overkil:" in client.get("/v1/recipes").json()["recipes"][0]["misfit"]
    assert client.delete("/v1/recipes/choosy").status_code == 200


def test_a_file_with_the_name_of_the_bundles_own_recipe_is_named(
    make_client: MakeClient, folder: Path
) -> None:
    (folder / "mine.yaml").write_text(STRICT.replace("strict", "tiny"))
    cause = refused(make_client(recipes_dir=folder).get("/readyz"), 503, "not_ready")["cause"]
    assert cause["detail"].startswith("mine.yaml: there is a recipe 'tiny' already")

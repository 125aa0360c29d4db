"""Which recipe judges a request that names none: the part's, the camera's, the default, in that order."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.inspection.rules.recipe import parse_recipe
from app.recipes.history import ActiveRecipes
from app.recipes.state import Known, Recipes
from app.schemas.inspections import Labels
from tests.app.conftest import GENEROUS, STRICT
from tests.app.test_batch import batch
from tests.app.test_inspections import post, refused
from tests.app.test_recipes import put
from tests.app.test_telemetry import samples
from tests.tiny_bundle import png, tiny_picture

MakeClient = Callable[..., TestClient]


@pytest.fixture
def own(make_client: MakeClient, folder: Path) -> TestClient:
    (folder / "generous.yml").write_text(GENEROUS)
    return make_client(recipes_dir=folder)


def activate(client: TestClient, **activations: Any) -> dict[str, Any]:
    response = client.put("/v1/activations", json=activations)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_nothing_is_active_at_first(own: TestClient) -> None:
    response = own.get("/v1/activations")
    assert response.headers["ETag"] == '"0"'
    nothing: dict[str, Any] = {"default": None, "cameras": {}, "parts": {}}
    assert response.json() == nothing | {"version": 0, "when": None, "who": None, "why": None, "key": None}


def test_verdicts_change_with_what_is_active(own: TestClient, dark: bytes) -> None:
    def judged(**labels: str) -> tuple[str, str]:
        answer = post(own, dark, **labels)
        return answer["recipe"], answer["verdict"]

    assert judged(camera_id="top", part_id="tile-1") == ("tiny", "fail")
    activate(own, default="generous", cameras={"top": "strict"}, parts={"tile-*": "generous"})
    assert judged() == ("generous", "pass")
    assert judged(camera_id="side") == ("generous", "pass")
    assert judged(camera_id="top") == ("strict", "fail")
    assert judged(camera_id="top", part_id="ring-1") == ("strict", "fail")
    assert judged(camera_id="top", part_id="tile-1") == ("generous", "pass")
    assert judged(camera_id="top", part_id="tile-1", recipe="strict") == ("strict", "fail")
    assert own.get("/v1/model").json()["default_recipe"] == "generous"
    listed = {each["name"]: each["active"] for each in own.get("/v1/recipes").json()["recipes"]}
    assert listed["generous"] == {"default": True, "cameras": [], "parts": ["tile-*"]}
    assert listed["strict"] == {"default": False, "cameras": ["top"], "parts": []}
    activate(own)
    assert judged(camera_id="top", part_id="tile-1") == ("tiny", "fail")


def test_a_batch_is_judged_as_single_pictures_are(own: TestClient, dark: bytes) -> None:
    activate(own, cameras={"top": "generous"})
    results = batch(own, [dark, dark], camera_id="top")["results"]
    assert [each["inspection"]["recipe"] for each in results] == ["generous", "generous"]


@pytest.mark.parametrize(
    ("part_id", "recipe"),
    [
        ("abc", "whole"),
        ("abcd", "long"),
        ("abd", "short"),
        ("ab", "short"),
        ("xyz", "any"),
        ("ABC", "any"),
        (None, "base"),
    ],
)
def test_the_longest_pattern_wins_and_a_whole_id_before_a_beginning(part_id: str | None, recipe: str) -> None:
    parts = {"*": "any", "ab*": "short", "abc*": "long", "abc": "whole"}
    names = (*parts.values(), "base")
    known = {name: Known(parse_recipe(f"name: {name}", "test"), 1) for name in names}
    for order in (parts, dict(reversed(parts.items()))):
        recipes = Recipes(known, "base", ActiveRecipes(parts=order))
        assert recipes.choose(Labels(part_id=part_id)).recipe.name == recipe


def test_a_snapshot_stays_as_it_was(own: TestClient) -> None:
    store = own.app.state.service.loaded.store  # type: ignore[attr-defined]
    begun = store.state.recipes
    put(own, "strict", "name: strict\nother: {max_count: 7}\n")
    activate(own, default="strict")
    assert begun.choose(Labels(recipe="strict")) == Known(parse_recipe(STRICT, "test"), 1)
    assert begun.default.name == "tiny"
    assert store.state.recipes.default.other.max_count == 7


def test_a_batch_that_has_begun_goes_on_with_the_recipe_it_began_with(
    make_client: MakeClient, folder: Path
) -> None:
    client = make_client(recipes_dir=folder, workers=1)
    pictures = [png(tiny_picture(900, 900))] * 12
    with ThreadPoolExecutor(1) as thread:
        begun = thread.submit(batch, client, pictures, "?mask=none", recipe="strict")
        while not samples(client)["passline_queue_running", ()]:
            assert not begun.done()
        assert put(client, "strict", "name: strict\nother: {max_count: 7}\n").json()["version"] == 2
        assert not begun.done()
        results = begun.result()["results"]
    assert {each["inspection"]["recipe_version"] for each in results} == {1}
    assert post(client, pictures[0], recipe="strict")["recipe_version"] == 2


def test_a_change_to_what_is_no_longer_active_is_refused(own: TestClient) -> None:
    tag = {"If-Match": '"0"'}
    assert own.put("/v1/activations", json={"default": "strict"}, headers=tag).headers["ETag"] == '"1"'
    refused(own.put("/v1/activations", json={}, headers=tag), 412, "version_stale")
    assert own.get("/v1/activations").json()["default"] == "strict"


def test_an_active_recipe_cannot_be_deleted(own: TestClient) -> None:
    put(own, "new", "name: new\n")
    for where in ({"default": "new"}, {"cameras": {"top": "new"}}, {"parts": {"a*": "new"}}):
        activate(own, **where)
        refused(own.delete("/v1/recipes/new"), 409, "recipe_in_use")
    activate(own)
    assert own.delete("/v1/recipes/new").status_code == 200


def test_the_default_of_the_settings_cannot_be_deleted_even_while_another_is_the_default(
    make_client: MakeClient, folder: Path
) -> None:
    client = make_client(recipes_dir=folder, default_recipe="strict")
    for default in (None, "tiny"):
        activate(client, default=default)
        problem = refused(client.delete("/v1/recipes/strict"), 409, "recipe_in_use")
        assert "PASSLINE_DEFAULT_RECIPE" in problem["detail"]
    assert activate(client)["default"] is None
    after = make_client(recipes_dir=folder)
    assert after.delete("/v1/recipes/strict").status_code == 200


@pytest.mark.parametrize(
    "unknown", [{"default": "nope"}, {"cameras": {"top": "nope"}}, {"parts": {"a*": "nope"}}]
)
def test_a_recipe_that_is_not_there_cannot_be_active(client: TestClient, unknown: dict[str, Any]) -> None:
    problem = refused(client.put("/v1/activations", json=unknown), 422, "recipe_unknown")
    assert "'nope'" in problem["detail"]
    assert client.get("/v1/activations").json()["version"] == 0


@pytest.mark.parametrize(
    "body",
    [
        '{"defualt": "strict"}',
        '{"parts": {"a*b": "strict"}}',
        '{"parts": {"**": "strict"}}',
        '{"parts": {"": "strict"}}',
        '{"cameras": {"top": ""}}',
        '{"cameras": {"top": "strict", "top": "generous"}}',
        '{"cameras": []}',
        "[]",
        "nothing",
        "[" * 100_000,
    ],
)
def test_what_cannot_be_activated_is_refused(client: TestClient, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    refused(client.put("/v1/activations", content=body, headers=headers), 422, "request_invalid")


def test_activations_are_json(client: TestClient) -> None:
    headers = {"Content-Type": "application/yaml"}
    yaml = client.put("/v1/activations", content="default: strict", headers=headers)
    refused(yaml, 415, "media_type_unsupported")

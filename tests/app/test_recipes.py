"""Recipes over HTTP: made, read, changed and deleted, each change a version; and what is refused."""

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from app.api.uploads import MAX_TEXT_BYTES
from app.database import connection
from app.inspection.rules.recipe_text import MAX_RECIPE_CHARS
from tests.app.conftest import STRICT, data_of, held
from tests.app.test_inspections import post, refused
from tests.app.test_telemetry import samples
from tests.markdown import ROOT

MakeClient = Callable[..., TestClient]
LENIENT = "name: strict  # for now\nother: {max_count: 5}\n"


@pytest.fixture
def own(make_client: MakeClient, folder: Path) -> TestClient:
    """A service that may change its recipes."""
    return make_client(recipes_dir=folder)


def put(client: TestClient, name: str, text: str | bytes, query: str = "", **headers: str) -> Any:
    """What a recipe sent as YAML is answered with; `If_Match` is the header of that name."""
    sent = {"Content-Type": "application/yaml"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return client.put(f"/v1/recipes/{quote(name, safe='')}{query}", content=text, headers=sent)


def test_the_list_tells_of_each_recipe_its_version_and_where_it_is_active(own: TestClient) -> None:
    listed = own.get("/v1/recipes").json()["recipes"]
    assert [(each["name"], each["version"], each["how"]) for each in listed] == [
        ("strict", 1, "file"),
        ("tiny", 1, "bundle"),
    ]
    assert [each["active"]["default"] for each in listed] == [False, True]


def test_a_change_is_a_new_version_with_who_and_why_and_is_in_force_at_once(
    own: TestClient, dark: bytes
) -> None:
    assert post(own, dark, recipe="strict")["verdict"] == "fail"
    changed = put(own, "strict", LENIENT, "?who=anna&why=trial%20run")
    assert (changed.status_code, changed.headers["ETag"]) == (200, '"2"')
    assert (changed.json()["version"], changed.json()["how"]) == (2, "http")
    answer = post(own, dark, recipe="strict")
    assert (answer["verdict"], answer["recipe"], answer["recipe_version"]) == ("pass", "strict", 2)
    versions = own.get("/v1/recipes/strict/versions").json()["versions"]
    assert [(each["version"], each["who"], each["why"]) for each in versions] == [
        (1, None, None),
        (2, "anna", "trial run"),
    ]
    old = own.get("/v1/recipes/strict?version=1")
    assert (old.json()["text"], old.headers["ETag"]) == (STRICT, '"1"')


def test_the_text_comes_back_as_it_was_sent_or_as_it_is_understood(own: TestClient) -> None:
    put(own, "strict", LENIENT)
    plain = own.get("/v1/recipes/strict", headers={"Accept": "application/yaml"})
    assert (plain.text, plain.headers["Content-Type"]) == (LENIENT, "application/yaml")
    assert plain.headers["ETag"] == '"2"'
    found = own.get("/v1/recipes/strict").json()
    assert (found["text"], found["recipe"]["other"]["max_count"]) == (LENIENT, 5)


def test_json_is_taken_as_yaml_is(own: TestClient) -> None:
    content = {"name": "new", "other": {"max_count": 1}}
    assert own.put("/v1/recipes/new", json=content).json()["version"] == 1
    assert own.get("/v1/recipes/new").json()["recipe"]["other"]["max_count"] == 1


def test_the_text_in_force_sent_again_is_no_new_version(own: TestClient) -> None:
    assert put(own, "strict", STRICT).json()["version"] == 1
    assert put(own, "strict", LENIENT).json()["version"] == 2
    assert put(own, "strict", LENIENT).json()["version"] == 2


def test_what_has_been_deleted_can_still_be_read_and_made_again(own: TestClient, clean: bytes) -> None:
    for name in ("strict", "tiny"):
        assert own.post(f"/v1/inspections?recipe={name}", files={"image": clean}).status_code == 200
        assert f'recipe="{name}"' in own.get("/metrics").text
    gone = own.delete("/v1/recipes/strict?who=ben")
    assert (gone.status_code, gone.json()["deleted"], gone.json()["version"]) == (200, True, 2)
    assert "version 2" in refused(own.get("/v1/recipes/strict"), 404, "recipe_not_found")["detail"]
    refused(own.delete("/v1/recipes/strict"), 404, "recipe_not_found")
    asked = own.post("/v1/inspections?recipe=strict", files={"image": clean})
    refused(asked, 422, "recipe_unknown")
    assert [each["name"] for each in own.get("/v1/recipes").json()["recipes"]] == ["tiny"]
    assert 'recipe="tiny"' in own.get("/metrics").text
    assert 'recipe="strict"' not in own.get("/metrics").text
    assert own.get("/v1/recipes/strict?version=1").json()["text"] == STRICT
    refused(own.get("/v1/recipes/strict?version=2"), 404, "recipe_not_found")
    assert put(own, "strict", STRICT).json()["version"] == 3


@pytest.mark.parametrize(
    "path", ["/v1/recipes/nope", "/v1/recipes/nope/versions", "/v1/recipes/tiny?version=9"]
)
def test_what_never_was_is_not_found(client: TestClient, path: str) -> None:
    refused(client.get(path), 404, "recipe_not_found")


def test_a_change_to_what_is_no_longer_in_force_is_refused(own: TestClient) -> None:
    assert put(own, "strict", LENIENT, If_Match='"1"').status_code == 200
    detail = refused(put(own, "strict", STRICT, If_Match='"1"'), 412, "version_stale")["detail"]
    assert 'is at version "2"' in detail
    stale = own.delete("/v1/recipes/strict", headers={"If-Match": 'W/"2"'})
    refused(stale, 412, "version_stale")
    assert own.delete("/v1/recipes/strict", headers={"If-Match": '"7", "2"'}).status_code == 200
    for tag in ('"2"', '"3"', "*"):
        refused(put(own, "strict", STRICT, If_Match=tag), 412, "version_stale")
    assert put(own, "strict", STRICT, If_Match='"0"').json()["version"] == 4
    assert put(own, "strict", LENIENT, If_Match="*").json()["version"] == 5


def test_of_changes_to_one_version_at_once_one_is_made(own: TestClient) -> None:
    texts = [f"name: strict\nother: {{max_count: {number}}}\n" for number in range(1, 9)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda text: put(own, "strict", text, If_Match='"1"'), texts))
    assert sorted(each.status_code for each in answers) == [200] + [412] * 7
    assert own.get("/v1/recipes/strict").json()["version"] == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: strict\nother: {max_count: 0}\nlimits: [\n", "line 4"),
        ("name: strict\nother:\n  max_count: 0\n  max_count: 3\n", "line 4"),
        ('{"name": "strict",\n"other": }', "line 2"),
        ("name: strict\nothre: {max_count: 0}", "othre"),
        ("name: strict\nlimits: {drak: {max_count: 0}}", "drak"),
        ("name: another\nother: {max_count: 0}", "'another'"),
        ("", "mapping"),
        ("#" * (MAX_RECIPE_CHARS + 1), "characters"),
    ],
)
def test_what_is_no_recipe_of_that_name_is_refused(client: TestClient, text: str, says: str) -> None:
    assert says in refused(put(client, "strict", text), 422, "recipe_invalid")["detail"]
    assert client.get("/v1/recipes/strict").json()["version"] == 1


def test_bodies_are_bounded_and_of_a_known_type(client: TestClient) -> None:
    refused(put(client, "strict", bytes(MAX_TEXT_BYTES + 1)), 413, "body_too_large")
    refused(put(client, "strict", b"name: \xff"), 422, "request_invalid")
    refused(put(client, "strict", STRICT, Content_Type="text/plain"), 415, "media_type_unsupported")
    assert "passline_upload_bytes 0.0" in client.get("/metrics").text


@pytest.mark.parametrize("query", ["?who=a&who=b", "?author=a", "?who=", f"?why={'y' * 501}", "?who=a%0Ab"])
def test_who_and_why_are_said_once_and_in_one_line(client: TestClient, query: str) -> None:
    refused(put(client, "strict", LENIENT, query), 422, "request_invalid")
    assert client.get("/v1/recipes/strict").json()["version"] == 1


@pytest.mark.parametrize(
    "name", ["..", "../../up", "/etc/x", "a\\b", "Träger 4711", "history", "%2e%2e", "dry-run"]
)
def test_no_name_becomes_a_path(own: TestClient, folder: Path, name: str) -> None:
    before = {path for path in folder.parent.rglob("*") if folder not in path.parents}
    response = put(own, name, json.dumps({"name": name, "other": {"max_count": 0}}))
    assert response.status_code in (200, 404, 405, 422), response.text
    assert {path for path in folder.parent.rglob("*") if folder not in path.parents} == before
    assert {path.name for path in folder.iterdir()} == {"strict.yaml"}
    if response.status_code == 200:
        assert own.get(f"/v1/recipes/{quote(name, safe='')}").json()["name"] == name


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_no_address_keeps_is_refused(own: TestClient, name: str) -> None:
    response = own.put(f"/v1/recipes/{name.replace('.', '%2e')}", json={"name": name})
    assert "no address ends in" in refused(response, 422, "recipe_invalid")["detail"]
    assert {each["name"] for each in own.get("/v1/recipes").json()["recipes"]} == {"strict", "tiny"}


@pytest.mark.parametrize("name", ["...", ".a", "a.", "..a"])
def test_other_dots_do_no_harm(own: TestClient, name: str) -> None:
    assert put(own, name, json.dumps({"name": name})).json()["version"] == 1
    assert own.delete(f"/v1/recipes/{name}").status_code == 200


@pytest.mark.parametrize("name", ["a\nb", "a\x7f", "n" * 129])
def test_a_name_that_could_garble_a_log_is_refused(client: TestClient, name: str) -> None:
    refused(put(client, name, json.dumps({"name": name})), 422, "request_invalid")


def test_the_bundles_own_recipe_stays_as_it_is(client: TestClient) -> None:
    refused(put(client, "tiny", "name: tiny\nother: {max_count: 9}"), 409, "recipe_in_use")
    refused(client.delete("/v1/recipes/tiny"), 409, "recipe_in_use")


def test_without_a_folder_of_files_recipes_are_changed_all_the_same(make_client: MakeClient) -> None:
    client = make_client(recipes_dir=None)
    assert client.get("/v1/recipes/tiny").json()["how"] == "bundle"
    assert put(client, "new", "name: new\n").json()["version"] == 1


def test_with_a_database_that_takes_nothing_recipes_are_read_and_not_changed(
    make_client: MakeClient, folder: Path, dark: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BUSY_S", 0.02)
    client = make_client(recipes_dir=folder)
    with held(data_of(client)):
        assert post(client, dark, recipe="strict")["recipe_version"] == 1
        refused(put(client, "strict", LENIENT), 503, "database_unusable")
        refused(client.delete("/v1/recipes/strict"), 503, "database_unusable")
        refused(client.put("/v1/activations", json={"default": "strict"}), 503, "database_unusable")
        assert client.get("/v1/recipes/strict").json()["text"] == STRICT
    assert post(client, dark, recipe="strict")["verdict"] == "fail"


def test_every_change_is_counted_and_logged(own: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    start = samples(own)["passline_recipe_changes_total", (("kind", "recipe"),)]
    assert start == 1  # the file, which was news to the history
    with caplog.at_level(logging.INFO, logger="app.service"):
        put(own, "strict", LENIENT, "?who=anna&why=trial")
        put(own, "strict", LENIENT)
        own.delete("/v1/recipes/strict")
        own.put("/v1/activations", json={})
    assert samples(own)["passline_recipe_changes_total", (("kind", "recipe"),)] == start + 2
    assert samples(own)["passline_recipe_changes_total", (("kind", "activations"),)] == 1
    changed = [record.__dict__ for record in caplog.records if "changed" in record.message]
    keys = ("message", "recipe", "old_version", "new_version", "who", "why")
    assert [tuple(each[key] for key in keys) for each in changed] == [
        ("recipe changed", "strict", 1, 2, "anna", "trial"),
        ("recipe changed", "strict", 2, 3, None, None),
        ("activations changed", None, 0, 1, None, None),
    ]


def test_the_schema_is_that_of_recipes(client: TestClient) -> None:
    published = json.loads((ROOT / "docs/recipe.schema.json").read_text())
    assert client.get("/v1/recipe-schema").json() == published

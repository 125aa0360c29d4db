"""The history of recipes on disk: it outlives restarts, kills and edits by hand; no version is lost."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.change_errors import VersionStale
from app.recipes.history import ActivationsChange, ActiveRecipes, History
from tests.app.conftest import STRICT
from tests.app.test_inspections import post, refused
from tests.app.test_recipes import LENIENT, put

MakeClient = Callable[..., TestClient]
Start = Callable[[], TestClient]


@pytest.fixture
def start(make_client: MakeClient, folder: Path) -> Start:
    """Start a service on the folder, as often as needed."""
    return lambda: make_client(recipes_dir=folder)


def texts(client: TestClient, name: str) -> list[str | None]:
    """The text of every version; None where one deleted it."""
    versions = client.get(f"/v1/recipes/{name}/versions").json()["versions"]
    return [
        None
        if each["deleted"]
        else client.get(f"/v1/recipes/{name}?version={each['version']}").json()["text"]
        for each in versions
    ]


def state(client: TestClient) -> list[Any]:
    """Everything that a restart must not change."""
    return [
        client.get(path).json()
        for path in ("/v1/recipes", "/v1/recipes/strict/versions", "/v1/activations", "/v1/recipes/new")
    ]


def test_a_restart_changes_nothing(start: Start, dark: bytes) -> None:
    first = start()
    put(first, "strict", LENIENT, "?who=anna")
    put(first, "new", "name: new\nother: {max_count: 2}\n")
    put(first, "gone", "name: gone\n")
    first.delete("/v1/recipes/gone")
    first.put("/v1/activations?who=ben", json={"default": "strict", "cameras": {"top": "new"}})
    second = start()
    assert state(second) == state(first)
    assert post(second, dark)["recipe_version"] == 2
    assert post(second, dark, camera_id="top")["recipe"] == "new"
    refused(second.get("/v1/recipes/gone"), 404, "recipe_not_found")
    assert put(second, "gone", "name: gone\n").json()["version"] == 3


@pytest.mark.parametrize("left", [b"", b'{"kind": "recipe", "name": "stri'])
def test_killed_in_between_leaves_what_was_there(start: Start, folder: Path, left: bytes) -> None:
    put(start(), "strict", LENIENT)
    (folder / "history" / ".0f6a2c1e5b7d4e0f.tmp").write_bytes(left)
    client = start()
    assert texts(client, "strict") == [STRICT, LENIENT]
    assert put(client, "strict", STRICT).json()["version"] == 3
    assert texts(start(), "strict") == [STRICT, LENIENT, STRICT]


def test_killed_after_each_file_is_the_state_after_that_change(
    make_client: MakeClient, start: Start, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    client = start()
    for text in (LENIENT, STRICT):
        put(client, "strict", text)
    client.delete("/v1/recipes/strict")
    whole = [STRICT, LENIENT, STRICT, None]
    files = sorted((folder / "history").glob("*.json"))
    assert len(files) == len(whole)
    for number in range(1, len(files) + 1):
        copy = tmp_path_factory.mktemp("copy")
        (copy / "history").mkdir()
        shutil.copy(folder / "strict.yaml", copy)
        for file in files[:number]:
            shutil.copy(file, copy / "history")
        assert texts(make_client(recipes_dir=copy), "strict") == whole[:number]


def test_an_edit_by_hand_is_the_next_version(start: Start, folder: Path, dark: bytes) -> None:
    assert texts(start(), "strict") == [STRICT]
    (folder / "strict.yaml").write_text(LENIENT)
    client = start()
    assert texts(client, "strict") == [STRICT, LENIENT]
    assert (post(client, dark, recipe="strict")["verdict"]) == "pass"
    assert texts(start(), "strict") == [STRICT, LENIENT]


def test_a_file_that_nobody_touched_does_not_undo_a_change(start: Start, folder: Path) -> None:
    put(start(), "strict", LENIENT)
    assert texts(start(), "strict") == [STRICT, LENIENT]
    (folder / "strict.yaml").unlink()
    assert texts(start(), "strict") == [STRICT, LENIENT]
    (folder / "renamed.yml").write_text(STRICT)
    assert texts(start(), "strict") == [STRICT, LENIENT]
    start().delete("/v1/recipes/strict")
    assert texts(start(), "strict") == [STRICT, LENIENT, None]
    (folder / "renamed.yml").write_text(STRICT + "# again\n")
    assert texts(start(), "strict") == [STRICT, LENIENT, None, STRICT + "# again\n"]


def test_a_file_taken_away_by_hand_is_the_end_of_its_recipe(start: Start, folder: Path) -> None:
    start()
    (folder / "strict.yaml").unlink()
    client = start()
    assert texts(client, "strict") == [STRICT, None]
    refused(client.get("/v1/recipes/strict"), 404, "recipe_not_found")


def test_an_active_recipe_taken_away_by_hand_keeps_the_service_from_becoming_ready(
    start: Start, folder: Path
) -> None:
    start().put("/v1/activations", json={"parts": {"a*": "strict"}})
    (folder / "strict.yaml").unlink()
    assert refused(start().get("/readyz"), 503, "not_ready")["cause"]["code"] == "recipe_unknown"


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"kind": "recipe", "version": 1}', b"[]"])
def test_a_broken_history_is_named(start: Start, folder: Path, content: bytes) -> None:
    (folder / "history").mkdir()
    (folder / "history" / "00000001.json").write_bytes(content)
    cause = refused(start().get("/readyz"), 503, "not_ready")["cause"]
    assert cause["code"] == "recipe_invalid"
    assert "00000001.json" in cause["detail"]


def test_a_history_with_a_version_missing_is_refused(start: Start, folder: Path) -> None:
    client = start()
    put(client, "strict", LENIENT)
    put(client, "strict", STRICT)
    second = folder / "history" / "00000002.json"
    text = second.read_text()
    second.write_text(text.replace('"version": 2', '"version": 7'))
    assert "'strict'" in refused(start().get("/readyz"), 503, "not_ready")["cause"]["detail"]
    second.unlink()
    assert f"{second} is missing" in refused(start().get("/readyz"), 503, "not_ready")["cause"]["detail"]


def test_two_processes_never_write_over_each_other(start: Start, folder: Path) -> None:
    first, second = start(), start()
    assert put(first, "strict", LENIENT).json()["version"] == 2
    assert "restart" in refused(put(second, "strict", STRICT + "#\n"), 412, "version_stale")["detail"]
    assert texts(start(), "strict") == [STRICT, LENIENT]
    assert not list((folder / "history").glob(".*.tmp"))


def test_a_change_is_in_its_file_before_it_is_answered(start: Start, folder: Path) -> None:
    put(start(), "strict", LENIENT, "?who=anna&why=because")
    last = json.loads(max((folder / "history").glob("*.json")).read_text())
    assert (last["name"], last["version"], last["who"], last["why"], last["text"]) == (
        *("strict", 2, "anna", "because"),
        LENIENT,
    )


def test_the_history_itself_refuses_to_replace_a_change(tmp_path: Path) -> None:
    change = ActivationsChange.model_validate(
        {"version": 1, "when": "2026-01-01T00:00:00Z", "activations": ActiveRecipes()}
    )
    History(tmp_path).append(change)
    with pytest.raises(VersionStale):
        History(tmp_path).append(change.model_copy(update={"version": 2}))
    assert History(tmp_path).read() == [change]


# as they lie in the folders of services that ran before
FILES = (
    """{
 "who": "anna",
 "why": "less strict",
 "version": 2,
 "when": "2026-01-02T03:04:05.678901Z",
 "key": "line",
 "kind": "recipe",
 "name": "strict",
 "how": "http",
 "text": "name: strict\\n"
}""",
    """{
 "who": null,
 "why": null,
 "version": 3,
 "when": "2026-01-02T03:04:05.678901Z",
 "key": null,
 "kind": "recipe",
 "name": "strict",
 "how": "file",
 "text": null
}""",
    """{
 "who": null,
 "why": null,
 "version": 1,
 "when": "2026-01-02T03:04:05.678901Z",
 "key": null,
 "kind": "activations",
 "activations": {
  "default": "strict",
  "cameras": {
   "top": "new"
  },
  "parts": {
   "AB*": "new"
  }
 }
}""",
)


def test_files_that_are_there_already_stay_readable_and_are_written_alike(tmp_path: Path) -> None:
    (tmp_path / "history").mkdir()
    for number, text in enumerate(FILES, 1):
        (tmp_path / "history" / f"{number:08d}.json").write_text(text)
    changes = History(tmp_path).read()
    assert [(each.kind, each.version, each.who) for each in changes] == [
        ("recipe", 2, "anna"),
        ("recipe", 3, None),
        ("activations", 1, None),
    ]
    last = changes[-1]
    assert isinstance(last, ActivationsChange)
    assert last.activations == ActiveRecipes(default="strict", cameras={"top": "new"}, parts={"AB*": "new"})
    assert [each.model_dump_json(indent=1) for each in changes] == list(FILES)

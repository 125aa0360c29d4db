"""The history of recipes in the database: it outlives restarts and edits by hand; no version is lost."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.change_errors import VersionStale
from app.database import connection
from app.database.connection import Database, sqlite_url
from app.database.journal import Journal
from app.database.tables import RECIPE_CHANGES
from app.inspection.errors import RecipeInvalid
from app.recipes.history import ActivationsChange, ActiveRecipes, History
from tests.app.conftest import STRICT, change_database, data_of, held
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


@pytest.mark.parametrize("content", ["", "{}", '{"kind": "recipe", "version": 1}', "[]"])
def test_a_broken_history_is_named(start: Start, content: str) -> None:
    put(first := start(), "strict", LENIENT)
    change_database(data_of(first), "UPDATE recipe_changes SET document = ? WHERE number = 2", content)
    cause = refused(start().get("/readyz"), 503, "not_ready")["cause"]
    assert cause["code"] == "recipe_invalid"
    assert "record 2 of recipe_changes" in cause["detail"]


def test_a_history_with_a_version_missing_is_refused(start: Start) -> None:
    client = start()
    put(client, "strict", LENIENT)
    put(client, "strict", STRICT)
    swap = "UPDATE recipe_changes SET document = replace(document, '\"version\":2', '\"version\":7')"
    change_database(data_of(client), swap)
    assert "'strict'" in refused(start().get("/readyz"), 503, "not_ready")["cause"]["detail"]
    change_database(data_of(client), "DELETE FROM recipe_changes WHERE number = 2")
    detail = refused(start().get("/readyz"), 503, "not_ready")["cause"]["detail"]
    assert "record 2 of recipe_changes is missing" in detail


def test_two_processes_never_write_over_each_other(start: Start) -> None:
    first, second = start(), start()
    assert put(first, "strict", LENIENT).json()["version"] == 2
    assert "restart" in refused(put(second, "strict", STRICT + "#\n"), 412, "version_stale")["detail"]
    assert texts(start(), "strict") == [STRICT, LENIENT]


def test_what_cannot_be_stored_is_not_in_force(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_S", 0.02)
    client = start()
    with held(data_of(client)):
        refused(put(client, "strict", LENIENT), 503, "database_unusable")
        assert texts(client, "strict") == [STRICT]
    assert put(client, "strict", LENIENT).json()["version"] == 2
    assert texts(start(), "strict") == [STRICT, LENIENT]


def test_the_history_itself_refuses_to_replace_a_change(tmp_path: Path) -> None:
    change = ActivationsChange.model_validate(
        {"version": 1, "when": "2026-01-01T00:00:00Z", "activations": ActiveRecipes()}
    )
    database = Database.open(sqlite_url(tmp_path))
    History(database, None).append(change)
    with pytest.raises(VersionStale):
        History(database, None).append(change.model_copy(update={"version": 2}))
    assert History(database, None).read() == [change]
    database.close()


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


def test_files_of_an_earlier_release_are_taken_over_once(tmp_path: Path) -> None:
    (tmp_path / "history").mkdir()
    for number, text in enumerate(FILES, 1):
        (tmp_path / "history" / f"{number:08d}.json").write_text(text)
    database = Database.open(sqlite_url(tmp_path / "data"))
    changes = History(database, tmp_path).read()
    assert [(each.kind, each.version, each.who) for each in changes] == [
        ("recipe", 2, "anna"),
        ("recipe", 3, None),
        ("activations", 1, None),
    ]
    last = changes[-1]
    assert isinstance(last, ActivationsChange)
    assert last.activations == ActiveRecipes(default="strict", cameras={"top": "new"}, parts={"AB*": "new"})
    assert [each.model_dump_json(indent=1) for each in changes] == list(FILES)
    (tmp_path / "history" / "00000001.json").write_text("nobody reads it again")
    assert History(database, tmp_path).read() == changes
    database.close()


@pytest.mark.parametrize("damage", ["first", "last", "no number", "not UTF-8"])
def test_damaged_files_of_an_earlier_release_are_named_and_nothing_is_taken_over(
    tmp_path: Path, damage: str
) -> None:
    old = tmp_path / "history"
    old.mkdir()
    for number, text in enumerate(FILES, 1):
        (old / f"{number:08d}.json").write_text(text)
    (old / ".last").write_text("x" if damage == "no number" else "3\n")
    if damage in ("first", "last"):
        (old / {"first": "00000001.json", "last": "00000003.json"}[damage]).unlink()
    elif damage == "not UTF-8":
        (old / "00000002.json").write_bytes(b"\xff")
    says = {"first": "00000001.json is missing", "last": "00000003.json is missing"}
    says |= {"no number": "holds no number", "not UTF-8": "not UTF-8"}
    database = Database.open(sqlite_url(tmp_path / "data"))
    with pytest.raises(RecipeInvalid, match=says[damage]):
        History(database, tmp_path).read()
    assert Journal(database, RECIPE_CHANGES).read() == []
    database.close()

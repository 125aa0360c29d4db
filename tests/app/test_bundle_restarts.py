"""What is kept of swaps: what the next start serves, and what happens where nothing can be kept or read."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.bundles import registry
from app.bundles.storage import BundleJournal, ShadowOutcome
from app.database import connection
from app.database.connection import Database, sqlite_url
from tests.app.conftest import change_database, held
from tests.app.test_bundles import ONLY_BRIGHT, SPECK, WAIT_S, judged_by, promote, propose
from tests.app.test_bundles import bundles_dir as bundles_dir
from tests.app.test_bundles import make as make
from tests.app.test_inspections import post, refused
from tests.app.test_recipes import put
from tests.app.test_telemetry import samples

MakeClient = Callable[..., TestClient]


def test_what_was_promoted_is_served_after_a_restart(make: MakeClient) -> None:
    first = make()
    propose(first, "2")
    promote(first, who="anna", why="fewer specks")
    second = make()
    assert judged_by(second) == "2"
    active = second.get("/v1/bundles").json()["active"]
    assert (active["how"], active["who"], active["why"]) == ("promotion", "anna", "fewer specks")
    assert active["since"] == first.get("/v1/bundles").json()["active"]["since"]
    first.post("/v1/bundles/rollback")  # as if the second did not run
    third = make()
    assert judged_by(third) == "1"
    assert len(third.get("/v1/bundles/changes").json()["changes"]) == 2


def test_after_a_rollback_to_the_bundle_of_the_setting_the_setting_decides_again(
    make: MakeClient, bundles_dir: Path
) -> None:
    first = make()
    propose(first, "2")
    promote(first)
    assert first.post("/v1/bundles/rollback", params={"who": "anna"}).status_code == 200
    second = make(bundle_dir=bundles_dir / "tiny" / "2")
    assert judged_by(second) == "2"
    active = second.get("/v1/bundles").json()["active"]
    assert (active["how"], active["who"]) == ("start", None)  # nobody went back to this one
    propose(second, "1")
    assert promote(second)["kept"] is True
    assert len(second.get("/v1/bundles/changes").json()["changes"]) == 3
    third = make(bundle_dir=bundles_dir / "tiny" / "2")
    assert judged_by(third) == "1"
    assert third.get("/v1/bundles").json()["active"]["how"] == "promotion"


def test_another_process_on_the_same_folder_is_noticed(make: MakeClient) -> None:
    one, other = make(), make()
    propose(one, "2")
    propose(other, "3")
    promote(one)
    detail = refused(other.post("/v1/bundles/candidate/promotion"), 412, "version_stale")["detail"]
    assert "another process" in detail
    assert judged_by(other) == "1"


def test_what_cannot_be_kept_is_not_promoted_but_gone_back_from(
    make: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "KEEP_AGAIN_S", 0.02)
    monkeypatch.setattr(connection, "BUSY_S", 0.02)
    client = make()
    propose(client, "2")
    with held(tmp_path / "data"):
        answer = client.post("/v1/bundles/candidate/promotion")
        assert "locked" in refused(answer, 503, "database_unusable")["detail"]
    assert judged_by(client) == "1"
    promote(client)
    assert samples(client)["passline_bundle_kept", ()] == 1
    with held(tmp_path / "data"):
        back = client.post("/v1/bundles/rollback").json()
        assert (back["version"], back["kept"]) == ("1", False)
        assert judged_by(client) == "1"
        assert client.get("/v1/bundles").json()["active"]["kept"] is False
        assert samples(client)["passline_bundle_kept", ()] == 0
    until = time.monotonic() + WAIT_S
    while samples(client)["passline_bundle_kept", ()] == 0:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert [each["how"] for each in client.get("/v1/bundles/changes").json()["changes"]] == [
        "promotion",
        "rollback",
    ]
    assert judged_by(make()) == "1"


@pytest.mark.parametrize("how", ["another manifest", "lost", "no change"])
def test_nothing_is_served_in_the_place_of_what_was_promoted(
    make: MakeClient, bundles_dir: Path, tmp_path: Path, how: str
) -> None:
    folder = tmp_path / "bundles"
    settings = {"bundles_dir": folder, "bundle_dir": bundles_dir / "tiny" / "1"}
    shutil.copytree(bundles_dir, folder)
    first = make(**settings)
    propose(first, "2")
    promote(first)
    manifest = folder / "tiny" / "2" / "bundle.json"
    if how == "another manifest":
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"description": "Other."}))
    elif how == "lost":
        manifest.unlink()
    else:
        change_database(tmp_path / "data", "UPDATE bundle_changes SET document = '{}'")
    codes = {"another manifest": "bundle_corrupt", "lost": "bundle_not_found", "no change": "state_invalid"}
    client = make(**settings)
    assert refused(client.get("/readyz"), 503, "not_ready")["cause"]["code"] == codes[how]
    refused(client.post("/v1/inspections", files={"image": SPECK}), 503, "not_ready")
    assert client.get("/v1/bundles").json()["active"] is None
    assert propose(client, "3")["state"] == "ready"
    if how == "no change":  # the next start could not read what was kept after it either
        answer = client.post("/v1/bundles/candidate/promotion")
        assert "record 1 of bundle_changes" in refused(answer, 503, "database_unusable")["detail"]
        return
    promote(client)
    assert judged_by(client) == "3"
    assert put(client, "strict", "name: strict\n").status_code == 200
    assert judged_by(make(**settings)) == "3"


def test_a_bundle_that_the_recipes_fit_makes_the_service_ready(make: MakeClient, tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "shiny.yaml").write_text(ONLY_BRIGHT)
    client = make(bundle_dir=tmp_path / "nowhere", default_recipe="shiny")
    refused(client.get("/readyz"), 503, "not_ready")
    propose(client, "3")
    refused(client.post("/v1/bundles/candidate/promotion"), 422, "recipe_invalid")
    refused(client.get("/readyz"), 503, "not_ready")
    propose(client, "2")
    promote(client)
    assert post(client, SPECK)["model"]["version"] == "2"
    assert post(client, SPECK)["recipe"] == "shiny"


# as it lies in the folders of services that ran before
FILE = """{
 "who": "anna",
 "why": null,
 "number": 1,
 "when": "2026-01-02T03:04:05.678901Z",
 "how": "promotion",
 "name": "tiny",
 "version": "2",
 "manifest_sha256": "abababababababababababababababababababababababababababababababab",
 "from_setting": false,
 "shadow": {
  "judged": 3,
  "dropped": 1,
  "failed": 0,
  "disagreements": {
   "pass_to_fail": 1
  }
 }
}"""


def test_files_of_an_earlier_release_are_taken_over_once(tmp_path: Path) -> None:
    (tmp_path / "bundles").mkdir()
    file = tmp_path / "bundles" / "00000001.json"
    file.write_text(FILE)
    database = Database.open(sqlite_url(tmp_path))
    for _ in range(2):
        journal = BundleJournal(database)
        journal.read(tmp_path)
        (change,) = journal.changes
        file.write_text("nobody reads it again")
    assert (change.number, change.who, change.how, change.name) == (1, "anna", "promotion", "tiny")
    assert change.shadow == ShadowOutcome(judged=3, dropped=1, failed=0, disagreements={"pass_to_fail": 1})
    assert change.model_dump_json(indent=1) == FILE
    database.close()


def test_a_bundle_promoted_where_no_folder_of_bundles_is_named_any_more_is_told(make: MakeClient) -> None:
    first = make()
    propose(first, "2")
    promote(first)
    cause = refused(make(bundles_dir=None).get("/readyz"), 503, "not_ready")["cause"]
    assert cause["code"] == "swapping_off"

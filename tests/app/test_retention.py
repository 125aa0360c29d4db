"""Retention: what is too old or has no more room is deleted, and the rest of the chain stays whole."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from starlette.testclient import TestClient

from app.__main__ import main
from app.database.tables import CHAIN_STARTS, HOURLY, INSPECTION_CLASSES, REVIEWS, THUMBNAILS
from app.database.times import DAY_US, now_us
from app.history import pruner, retention
from app.history.history import History
from app.history.retention import Deleted
from app.history.verify import Checked, verify
from tests.app.conftest import change_rows, data_of
from tests.app.test_inspections import post, refused

Make = Callable[..., TestClient]


@pytest.fixture
def make(make_client: Make, tmp_path: Path, database_url: str | None) -> Make:
    """Start a service that keeps every image; once on each database."""

    def start(**settings: Any) -> TestClient:
        own = {"history": "sync", "keep_images": "all", "database_url": database_url, "data_dir": tmp_path}
        return make_client(**own | settings)

    return start


def history_of(client: TestClient) -> History:
    found: History = client.app.state.service.history  # type: ignore[attr-defined]
    return found


def prune(client: TestClient) -> Deleted:
    return history_of(client).retention.run(None)


def kept(client: TestClient) -> list[tuple[str, bool]]:
    """Verdict and whether the image is kept, oldest first."""
    rows = client.get("/v1/inspections").json()["items"]
    return [(row["verdict"], row["has_image"]) for row in reversed(rows)]


def files_of(client: TestClient) -> list[str]:
    return [path.parent.parent.parent.parent.name for path in data_of(client).rglob("*-*.png")]


def age(client: TestClient, id: str, days: float) -> None:
    """Make an inspection older, as if it had been made that many days ago, with its place in the chain."""
    moved = now_us() - int(days * DAY_US)
    change_rows(client, "UPDATE inspections SET time_us = :moved WHERE id = :id", moved=moved, id=id)


def count(client: TestClient, table: sqlalchemy.Table) -> int:
    with history_of(client).database.reading() as connection:
        return connection.scalar(sqlalchemy.select(sqlalchemy.func.count()).select_from(table)) or 0


def findings(client: TestClient) -> list[str]:
    history = history_of(client)
    return [finding.what for finding in verify(history.database, history.files, Checked())]


def test_without_limits_nothing_is_deleted(make: Make, dark: bytes) -> None:
    client = make(retention_min_free_bytes=0)
    age(client, post(client, dark)["id"], 5000)
    assert prune(client) == Deleted()
    assert kept(client) == [("fail", True)]


def test_images_are_kept_for_days_by_verdict(make: Make, dark: bytes, clean: bytes) -> None:
    client = make(retention_days_pass=10, retention_days_fail=100)
    for image, days in ((dark, 101), (dark, 99), (clean, 11), (clean, 9)):
        age(client, post(client, image)["id"], days)
    assert prune(client) == Deleted(images=2)
    assert kept(client) == [("fail", False), ("fail", True), ("pass", False), ("pass", True)]
    assert sorted(files_of(client)) == ["images", "images", "masks"]
    assert prune(client) == Deleted()
    oldest = client.get("/v1/inspections").json()["items"][-1]["id"]
    refused(client.get(f"/v1/inspections/{oldest}/image"), 404, "image_not_kept")
    assert client.get(f"/v1/inspections/{oldest}/thumbnail").status_code == 200


def test_rows_are_deleted_from_the_oldest_on_and_the_chain_still_holds(
    make: Make, dark: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    client = make()
    ids = [post(client, dark)["id"] for _ in range(5)]
    with history_of(client).database.transaction() as connection:
        own = {"time_us": 0, "who": "anna", "verdict": "fail", "classes": "[]"}
        connection.execute(REVIEWS.insert(), [own | {"inspection_id": id} for id in ids])
    for id in ids[:3]:
        age(client, id, 31)
    limits = retention.Limits(None, None, 30, None, 0)
    history = history_of(client)
    pruned = retention.Retention(history.database, history.files, data_of(client), limits).run(None)
    assert pruned == Deleted(rows=3)
    assert findings(client) == []
    tables = (CHAIN_STARTS, THUMBNAILS, INSPECTION_CLASSES, REVIEWS)
    assert [count(client, table) for table in tables] == [1, 2, 2, 2]
    assert sorted(files_of(client)) == ["images"] * 2 + ["masks"] * 2
    post(client, dark)
    assert findings(client) == []
    with history.database.reading() as connection:  # what statistics need is still there
        assert connection.scalar(sqlalchemy.select(sqlalchemy.func.sum(HOURLY.c.count))) == 6


def test_a_row_removed_by_hand_is_named_also_where_retention_has_worked(make: Make, clean: bytes) -> None:
    client = make(retention_days_rows=30)
    for days in (31, 1, 1, 1):
        id = post(client, clean)["id"]
        if days == 31:
            age(client, id, days)
    prune(client)
    change_rows(client, "DELETE FROM inspections WHERE position = 3")
    assert findings(client) == ["rows 3 to 3 were removed"]
    change_rows(
        client,
        "INSERT INTO chain_starts SELECT box, 3, hash, 0 FROM inspections WHERE position = 2",
    )
    assert findings(client) == ["rows 3 to 3 were removed"]


def test_images_have_no_more_bytes_than_allowed(
    make: Make, dark: bytes, clean: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 1)
    client = make()
    for image in (dark, clean, dark, clean):
        post(client, image)
    change_rows(client, "UPDATE inspections SET reviewed = true WHERE position = 1")
    history = history_of(client)
    # passes first, then what nobody has reviewed, then the rest
    for expected in ([1, 0, 1, 1], [1, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]):
        total = sum(path.stat().st_size for path in data_of(client).rglob("*-*.png"))
        for most in (total, total - 1):
            limits = retention.Limits(None, None, None, most, 0)
            short = retention.Retention(history.database, history.files, data_of(client), limits)
            assert short.run(None) == Deleted(images=total - most)
        assert [has for _, has in kept(client)] == expected
    assert findings(client) == []


def test_the_disk_keeps_its_least_room(make: Make, dark: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make()
    for _ in range(3):
        post(client, dark)
    too_much = shutil.disk_usage(data_of(client)).free * 2
    history = history_of(client)
    limits = retention.Limits(None, None, None, None, too_much)
    scarce = retention.Retention(history.database, history.files, data_of(client), limits)
    monkeypatch.setattr(retention, "REUSABLE_BYTES", 1)
    done = scarce.run(None)
    assert done.images == 3
    # Rows make room within SQLite's own file; the disk of a server is not looked at.
    assert done.rows == (3 if history.database.is_sqlite else 0)
    assert findings(client) == []
    post(client, dark)
    assert findings(client) == []


def test_retention_works_beside_the_service_and_tells_how_much(
    make: Make, dark: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruner, "INTERVAL_S", 0.05)
    client = make(retention_days_fail=10)
    age(client, post(client, dark)["id"], 11)
    until = time.monotonic() + 20
    while kept(client) != [("fail", False)]:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert "passline_history_deleted_images 1.0" in client.get("/metrics").text


def test_a_command_prunes_at_once(
    make: Make,
    dark: bytes,
    database_url: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = make()
    age(client, post(client, dark)["id"], 11)
    monkeypatch.setenv("PASSLINE_DATA_DIR", str(data_of(client)))
    monkeypatch.setenv("PASSLINE_RETENTION_DAYS_FAIL", "10")
    if database_url is not None:
        monkeypatch.setenv("PASSLINE_DATABASE_URL", database_url)
    assert main(["history", "prune"]) == 0
    assert capsys.readouterr().out == "1 images and 0 rows deleted\n"

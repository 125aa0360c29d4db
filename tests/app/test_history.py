"""The history of inspections: what was answered is there, and cannot be changed without being noticed."""

import hashlib
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient

from app.__main__ import main
from app.database import connection
from app.database.connection import FILE
from app.history import pages
from app.inspection.mask_formats import from_png
from tests.app.conftest import STRICT, change_database, change_rows, data_of, held
from tests.app.test_inspections import post, refused
from tests.app.test_telemetry import samples

MakeClient = Callable[..., TestClient]
Command = Callable[..., int]


@pytest.fixture
def box(make_client: MakeClient, tmp_path: Path, database_url: str | None) -> TestClient:
    """A service that keeps its inspections, and images of all; once on each database."""
    (tmp_path / "strict.yaml").write_text(STRICT)
    return make_client(history="sync", keep_images="all", recipes_dir=tmp_path, database_url=database_url)


def rows(client: TestClient, query: str = "") -> list[dict[str, Any]]:
    """One page of the history."""
    response = client.get(f"/v1/inspections{query}")
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


def test_an_answer_is_kept_with_all_that_is_known_of_it(box: TestClient, dark: bytes) -> None:
    answer = post(box, dark, "?mask=png&overlay=true", camera_id="top", part_id="A-1")
    (row,) = rows(box)
    assert (row["id"], row["verdict"], row["camera_id"], row["part_id"]) == (
        *(answer["id"], "fail", "top"),
        "A-1",
    )
    assert (row["classes"], row["defects"], row["filename"]) == (["dark"], 1, "a.png")
    detail = box.get(f"/v1/inspections/{answer['id']}").json()
    kept = {"mask": {"format": "none", "data": None}, "overlay": None}
    assert detail["answer"] == answer | kept
    assert detail["image_sha256"] == hashlib.sha256(dark).hexdigest()
    label_map = from_png(answer["mask"]["data"])
    assert detail["mask_sha256"] == hashlib.sha256(label_map.tobytes()).hexdigest()
    assert detail["chain"]["position"] == 1
    assert abs(datetime.fromisoformat(row["time"]) - datetime.now(UTC)) < timedelta(minutes=1)


def picture(client: TestClient, place: str) -> Any:
    response = client.get(f"/v1/inspections/{place}")
    assert response.status_code == 200, response.text
    return cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_UNCHANGED)


def test_image_mask_overlay_and_thumbnail_are_those_of_the_inspection(
    box: TestClient, dark: bytes, clean: bytes
) -> None:
    answer = post(box, dark, "?mask=png&overlay=true")
    id = answer["id"]
    assert box.get(f"/v1/inspections/{id}/image").content == dark
    assert np.array_equal(picture(box, f"{id}/mask"), from_png(answer["mask"]["data"]))
    assert np.array_equal(picture(box, f"{id}/overlay"), _decoded(answer["overlay"]))
    assert picture(box, f"{id}/thumbnail").shape[:2] == picture(box, f"{id}/image?as=png").shape[:2]
    good = post(box, clean)["id"]
    assert not picture(box, f"{good}/mask").any()
    refused(box.get("/v1/inspections/abc/image"), 404, "inspection_not_found")
    refused(box.get("/v1/inspections/ABC"), 422, "request_invalid")


def _decoded(text: str) -> Any:
    import base64

    return cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_UNCHANGED)


def test_a_raw_frame_can_be_seen_too(box: TestClient) -> None:
    frame = np.full((80, 96), 128, np.uint8)
    query = "width=90&height=80&pixel_format=Mono8&stride=96"
    sent = box.post(
        f"/v1/inspections?{query}",
        content=frame.tobytes(),
        headers={"Content-Type": "application/octet-stream"},
    )
    id = sent.json()["id"]
    assert box.get(f"/v1/inspections/{id}/image").content == frame.tobytes()
    assert np.array_equal(picture(box, f"{id}/image?as=png"), frame[:, :90])


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("camera=top", [0, 2]),
        ("camera=top&camera=side", [0, 1, 2]),
        ("verdict=pass", [1]),
        ("class=dark", [0, 2]),
        ("class=bright", []),
        ("part=A-2", [2]),
        ("text=A-", [0, 2]),
        ("text=a.p", [0, 1, 2]),
        ("text=A.p", []),
        ("text=b-1", []),
        ("recipe=strict&verdict=fail", [2]),
        ("reviewed=true", []),
        ("reviewed=false&camera=side", [1]),
        ("bundle=tiny/1", [0, 1, 2]),
        ("bundle=tiny/2", []),
        ("from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z", []),
        ("from=2020-01-01T00:00:00%2B01:00", [0, 1, 2]),
    ],
)
def test_filters_find_what_matches(
    box: TestClient, dark: bytes, clean: bytes, query: str, wanted: list[int]
) -> None:
    made = [
        post(box, dark, camera_id="top", part_id="A-1")["id"],
        post(box, clean, camera_id="side", part_id="B-1")["id"],
        post(box, dark, camera_id="top", part_id="A-2", recipe="strict")["id"],
    ]
    found = [row["id"] for row in rows(box, f"?{query}")]
    assert found == [made[number] for number in reversed(wanted)]


@pytest.mark.parametrize(("few", "many"), [(1, 2), (1, 100), (100, 100), (1, 1)])
@pytest.mark.parametrize(
    "query", ["camera=top&verdict=fail", "class=dark&camera=top", "text=A-&verdict=fail&camera=top"]
)
def test_pages_are_the_same_however_many_rows_a_condition_matches(
    box: TestClient,
    dark: bytes,
    clean: bytes,
    query: str,
    few: int,
    many: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pages, "FEW", few)
    monkeypatch.setattr(pages, "MANY", many)
    made = []
    for number in range(9):
        image, camera = (clean, dark)[number % 3 > 0], ("top", "side")[number % 4 == 1]
        id = post(box, image, camera_id=camera, part_id=f"A-{number}")["id"]
        made += [id] if number % 3 > 0 and number % 4 != 1 else []
    first = box.get(f"/v1/inspections?limit=3&{query}").json()
    second = box.get(f"/v1/inspections?limit=3&before={first['next']}&{query}").json()
    assert [row["id"] for row in first["items"] + second["items"]] == made[::-1]
    assert second["next"] is None


def test_pages_hold_each_inspection_once_also_while_new_ones_arrive(box: TestClient, clean: bytes) -> None:
    made = [post(box, clean)["id"] for _ in range(7)]
    found, cursor = [], ""
    while True:
        page = box.get(f"/v1/inspections?limit=3{cursor}").json()
        found += [row["id"] for row in page["items"]]
        if page["next"] is None:
            break
        post(box, clean)
        cursor = f"&before={page['next']}"
    assert found == made[::-1]
    refused(box.get("/v1/inspections?before=x"), 422, "request_invalid")
    refused(box.get("/v1/inspections?limit=501"), 422, "request_invalid")
    refused(box.get("/v1/inspections?camra=top"), 422, "request_invalid")


def test_batches_and_parts_are_kept_image_by_image(box: TestClient, dark: bytes, clean: bytes) -> None:
    images = [("images", ("a.png", dark)), ("images", ("b.png", b"no image")), ("images", ("c.png", clean))]
    assert box.post("/v1/inspections/batch", files=images).json()["counts"]["images"] == 3
    assert [row["filename"] for row in rows(box)] in (["c.png", "a.png"], ["a.png", "c.png"])
    part = [("image", ("a.png", dark)), ("image", ("b.png", clean))]
    assert box.post("/v1/parts?part_id=P-1", files=part).json()["verdict"] == "fail"
    assert len(rows(box, "?part=P-1")) == 2


def test_only_some_images_of_passes_are_kept(make_client: MakeClient, dark: bytes, clean: bytes) -> None:
    client = make_client(history="sync", keep_every_pass=4, sample_pass_rate=1e-9)
    for _ in range(8):
        post(client, clean)
    id = post(client, dark)["id"]
    kept = [row["has_image"] for row in rows(client)]
    assert kept == [True, *(3 * [False] + [True]) * 2]
    assert box_files(client) == {"images": 3, "masks": 1}
    last = rows(client)[1]["id"]
    refused(client.get(f"/v1/inspections/{last}/image"), 404, "image_not_kept")
    assert picture(client, f"{last}/thumbnail").shape[:2] == (96, 80)
    assert client.get(f"/v1/inspections/{id}/image").content == dark


def box_files(client: TestClient) -> dict[str, int]:
    return {
        name: sum(path.is_file() for path in (data_of(client) / name).rglob("*"))
        for name in ("images", "masks")
    }


def test_without_its_record_no_verdict_leaves(
    make_client: MakeClient, dark: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BUSY_S", 0.02)
    client = make_client(history="sync")
    with held(data_of(client)):
        problem = refused(client.post("/v1/inspections", files={"image": dark}), 503, "database_unusable")
        assert "locked" in problem["detail"]
        assert samples(client)["passline_history_failing", ()] == 1
    assert box_files(client) == {"images": 0, "masks": 0}
    assert rows(client) == []
    post(client, dark)
    assert samples(client)["passline_history_failing", ()] == 0
    assert box_files(client) == {"images": 1, "masks": 1}


def test_in_mode_async_an_answer_does_not_wait(
    make_client: MakeClient, dark: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BUSY_S", 0.02)
    client = make_client(history="async")
    with held(data_of(client)):
        assert post(client, dark)["verdict"] == "fail"
        client.app.state.service.history.writer.close()  # type: ignore[attr-defined]
    assert samples(client)["passline_history_lost", ()] == 1
    assert rows(client) == []


def test_where_no_history_is_kept_it_is_told(client: TestClient, dark: bytes) -> None:
    post(client, dark)
    refused(client.get("/v1/inspections"), 409, "history_off")


def test_many_at_once_are_one_chain(box: TestClient, clean: bytes) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = set(threads.map(lambda _: post(box, clean)["id"], range(40)))
    positions = {box.get(f"/v1/inspections/{id}").json()["chain"]["position"] for id in made}
    assert positions == set(range(1, 41))


@pytest.fixture
def command(box: TestClient, monkeypatch: pytest.MonkeyPatch, bundle_dir: Path) -> Command:
    """`passline history`, on the service's folder."""
    settings = box.app.state.service.settings  # type: ignore[attr-defined]
    monkeypatch.setenv("PASSLINE_DATA_DIR", str(data_of(box)))
    monkeypatch.setenv("PASSLINE_BUNDLE_DIR", str(bundle_dir))
    monkeypatch.setenv("PASSLINE_RECIPES_DIR", str(settings.recipes_dir))
    if settings.database_url is not None:
        monkeypatch.setenv("PASSLINE_DATABASE_URL", settings.database_url)
    return lambda *given: main(["history", *given])


def test_what_is_as_it_was_written_is_verified(
    box: TestClient,
    command: Command,
    dark: bytes,
    clean: bytes,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for image in (dark, clean, dark):
        post(box, image, recipe="strict")
    assert command("verify") == 0
    assert "3 rows and 5 files: nothing changed or removed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE inspections SET verdict = 'pass' WHERE position = 2", "2 {2}: the row was changed"),
        ("UPDATE inspections SET answer = answer || ' ' WHERE position = 3", "3 {3}: the row was changed"),
        (
            "UPDATE inspections SET total_ms = total_ms + 1e-9 WHERE position=1",
            "1 {1}: the row was changed",
        ),
        ("UPDATE inspections SET part_id = 'B' WHERE position = 1", "1 {1}: the row was changed"),
        ("UPDATE inspections SET sample_weight = 1 WHERE position = 1", "1 {1}: the row was changed"),
        ("DELETE FROM inspections WHERE position = 2", "2 -: rows 2 to 2 were removed"),
        ("DELETE FROM inspections WHERE position = 1", "1 -: rows 1 to 1 were removed"),
    ],
)
def test_a_row_that_was_changed_or_removed_is_named(
    box: TestClient,
    command: Command,
    dark: bytes,
    capsys: pytest.CaptureFixture[str],
    statement: str,
    says: str,
) -> None:
    ids = ["", *(post(box, dark)["id"] for _ in range(3))]
    change_rows(box, statement)
    assert command("verify") == 1
    assert says.format(*ids) in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["images", "masks"])
@pytest.mark.parametrize("how", ["missing", "changed"])
def test_a_file_that_was_changed_or_removed_is_named(
    box: TestClient,
    command: Command,
    dark: bytes,
    clean: bytes,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    how: str,
) -> None:
    id = post(box, dark)["id"]
    (file,) = (path for path in (data_of(box) / kind).rglob("*") if path.is_file())
    if how == "missing":
        file.unlink()
    else:
        file.write_bytes(clean)
    assert command("verify") == 1
    out = capsys.readouterr().out
    assert f"1 {id}: its {kind[:-1]}" in out
    assert how in out


def test_a_kept_image_inspected_again_gives_the_same_mask(
    box: TestClient, command: Command, dark: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    id = post(box, dark, recipe="strict")["id"]
    assert command("replay", id) == 0
    assert capsys.readouterr().out == "mask: the same, bit for bit\nverdict: fail, then fail\n"
    change_rows(box, "UPDATE inspections SET mask_sha256 = 'x'")
    assert command("replay", id) == 1
    assert command("replay", "0") == 2


def test_a_request_sent_again_gets_the_first_answer(box: TestClient, dark: bytes, clean: bytes) -> None:
    def send(image: bytes, key: str | None, query: str = "") -> Any:
        headers = {} if key is None else {"Idempotency-Key": key}
        return box.post(f"/v1/inspections{query}", files={"image": ("a.png", image)}, headers=headers)

    first = send(dark, "k-1")
    again = send(dark, "k-1")
    assert again.content == first.content
    assert send(dark, "k-2").json()["id"] != first.json()["id"]
    assert send(dark, None).json()["id"] != first.json()["id"]
    refused(send(clean, "k-1"), 422, "idempotency_key_reused")
    refused(send(dark, "k-1", "?mask=rle"), 422, "idempotency_key_reused")
    refused(send(dark, "a b"), 422, "request_invalid")
    assert len(rows(box)) == 3
    refused(send(b"no image", "k-3"), 415, "image_unsupported")
    assert send(dark, "k-3").status_code == 200  # an error is no first answer
    page = send(dark, "k-4", "?format=certificate")
    assert send(dark, "k-4", "?format=certificate").text == page.text


def test_the_same_request_twice_at_once_is_one_inspection(box: TestClient, dark: bytes) -> None:
    together = threading.Barrier(4)

    def send(_: int) -> bytes:
        together.wait()
        headers = {"Idempotency-Key": "one"}
        return box.post("/v1/inspections", files={"image": dark}, headers=headers).content

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(send, range(4)))) == 1
    assert len(rows(box)) == 1


def test_a_first_answer_is_forgotten_in_time(make_client: MakeClient, dark: bytes) -> None:
    client = make_client(history="sync", idempotency_s=3600)
    headers = {"Idempotency-Key": "one"}
    first = client.post("/v1/inspections", files={"image": dark}, headers=headers).json()["id"]
    change_database(data_of(client), "UPDATE idempotency SET time_us = time_us - 3601000000")
    assert client.post("/v1/inspections", files={"image": dark}, headers=headers).json()["id"] != first
    with closing(sqlite3.connect(data_of(client) / FILE)) as database:
        assert database.execute("SELECT count(*) FROM idempotency").fetchone() == (1,)

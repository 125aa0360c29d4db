"""Export of the history: the same rows as the list, as CSV, Parquet, and a data set for training."""

import csv
import io
import sys
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from starlette.testclient import TestClient

from app.database.tables import REVIEWS
from app.history import export
from app.history.export import COLUMNS
from tests.app.conftest import change_rows, data_of
from tests.app.test_inspections import post, refused
from training.data.registry import read_dataset


@pytest.fixture
def box(make_client: Callable[..., TestClient], database_url: str | None, tmp_path: Path) -> TestClient:
    return make_client(history="sync", keep_images="all", database_url=database_url, data_dir=tmp_path)


def review(client: TestClient, id: str, verdict: str, classes: str) -> None:
    own = {"inspection_id": id, "time_us": 0, "who": "anna", "verdict": verdict, "classes": classes}
    database = client.app.state.service.database  # type: ignore[attr-defined]
    with database.transaction() as connection:
        connection.execute(REVIEWS.insert().values(own | {"comment": "=1+1"}))
    change_rows(client, "UPDATE inspections SET reviewed = true WHERE id = :id", id=id)


def exported(client: TestClient, query: str) -> bytes:
    response = client.get(f"/v1/inspections/export?{query}")
    assert response.status_code == 200, response.text
    assert "attachment" in response.headers["content-disposition"]
    return response.content


def listed(client: TestClient) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = client.get("/v1/inspections").json()["items"]
    return items


def test_csv_has_every_row_of_the_list(
    box: TestClient, dark: bytes, clean: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "AT_ONCE", 2)
    ids = [post(box, dark, camera_id="top", part_id="Teil ü")["id"] for _ in range(3)]
    ids.append(post(box, clean)["id"])
    review(box, ids[0], "fail", '["dark", "bright"]')
    read = list(csv.DictReader(io.StringIO(exported(box, "format=csv").decode())))
    assert tuple(read[0]) == COLUMNS
    assert [row["id"] for row in read] == ids[::-1]
    for row, item in zip(read, listed(box), strict=True):
        assert (row["verdict"], row["camera_id"], row["part_id"]) == (
            *(item["verdict"], item["camera_id"] or ""),
            item["part_id"] or "",
        )
        assert datetime.fromisoformat(row["time"]) == datetime.fromisoformat(item["time"])
        assert float(row["image_probability"]) == item["image_probability"]
    assert read[-1]["review_classes"] == "dark;bright"
    assert read[-1]["has_image"] == "true"
    some = exported(box, "format=csv&camera=top").decode()
    assert some.count("\r\n") == 4


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_a_spreadsheet_finds_no_formula_in_csv(box: TestClient, clean: bytes, start: str) -> None:
    post(box, clean, part_id=f"{start}1+1")
    (read,) = csv.DictReader(io.StringIO(exported(box, "format=csv").decode()))
    assert read["part_id"] == f"'{start}1+1"


def test_parquet_has_the_same_rows_with_their_types(
    box: TestClient, dark: bytes, clean: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "OF_GROUP", 2)
    ids = [post(box, image)["id"] for image in (dark, clean, dark)]
    review(box, ids[2], "pass", "[]")
    table = parquet.read_table(io.BytesIO(exported(box, "format=parquet")))
    assert tuple(table.column_names) == COLUMNS
    rows = table.to_pylist()
    assert [row["id"] for row in rows] == ids[::-1]
    assert [row["classes"] for row in rows] == [["dark"], [], ["dark"]]
    assert rows[1]["time"] == datetime.fromisoformat(listed(box)[1]["time"])
    assert (rows[0]["review_verdict"], rows[0]["review_classes"], rows[1]["review_classes"]) == (
        "pass",
        [],
        None,
    )
    empty = parquet.read_table(io.BytesIO(exported(box, "format=parquet&camera=none")))
    assert (empty.num_rows, tuple(empty.column_names)) == (0, COLUMNS)


def test_a_box_without_pyarrow_says_so(box: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refused(box.get("/v1/inspections/export?format=parquet"), 501, "parquet_not_installed")


def test_a_data_set_is_one_that_training_reads(
    box: TestClient, dark: bytes, clean: bytes, tmp_path: Path
) -> None:
    refused(box.get("/v1/inspections/export?format=dataset"), 409, "data_set_not_written")
    review(box, post(box, dark)["id"], "fail", '["dark"]')
    review(box, post(box, clean)["id"], "pass", "[]")
    post(box, dark)
    with zipfile.ZipFile(io.BytesIO(exported(box, "format=dataset"))) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "read")
    samples = read_dataset(tmp_path / "read").samples
    assert len(samples) == 2
    assert list(data_of(box).glob(".export-*")) == []


def test_without_a_history_there_is_nothing_to_export(client: TestClient) -> None:
    refused(client.get("/v1/inspections/export"), 409, "history_off")

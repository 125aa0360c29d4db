"""Reviewed inspections become a data set that training reads, and a bundle trained on them."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient

from app.__main__ import main
from app.database.connection import FILE
from app.main import create_app
from app.settings import Settings
from tests.local_client import LocalClient
from tests.tiny_bundle import png, tiny_picture, write_tiny_bundle
from training.data.registry import read_dataset

PASSED, FAILED = tiny_picture(96, 80), tiny_picture(96, 80, dark=(20, 30, 12, 9))


@contextmanager
def serving(folder: Path) -> Iterator[TestClient]:
    """A service that keeps every image, on a folder of data."""
    settings = Settings(
        bundle_dir=write_tiny_bundle(folder / "tiny"),
        data_dir=folder / "data",
        history="sync",
        keep_images="all",
        threads=1,
    )
    with LocalClient(create_app(settings)) as client:
        yield client


def inspect(client: TestClient, image: Any, **labels: str) -> str:
    """The id of an image's inspection."""
    answer = client.post("/v1/inspections", files={"image": png(image)}, params=labels)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def review(data: Path, id: str, verdict: str, classes: str = "[]", mask_file: str | None = None) -> None:
    """Store a person's decision."""
    with closing(sqlite3.connect(data / FILE, isolation_level=None)) as database:
        database.execute(
            "INSERT INTO reviews (inspection_id, time_us, who, verdict, classes, mask_file)"
            " VALUES (?, 0, 'anna', ?, ?, ?)",
            (id, verdict, classes, mask_file),
        )
        database.execute("UPDATE inspections SET reviewed = 1 WHERE id = ?", (id,))


@pytest.fixture
def reviewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict[str, str]]:
    """The folder of data, and the ids of inspections by what a person says of them."""
    data = tmp_path / "data"
    monkeypatch.setenv("PASSLINE_DATA_DIR", str(data))
    with serving(tmp_path) as client:
        ids = {
            "good": inspect(client, PASSED, part_id="P/1"),
            "confirmed": inspect(client, FAILED, part_id="P/1"),
            "overturned": inspect(client, FAILED),
            "missed": inspect(client, PASSED),
            "corrected": inspect(client, PASSED),
            "not reviewed": inspect(client, PASSED),
            "not kept": inspect(client, PASSED),
        }
        (gone,) = (data / "images").rglob(f"*-{ids['not kept'][:8]}.png")
    gone.unlink()
    mask = np.zeros((96, 80), np.uint8)
    mask[10:14, 10:14], mask[50:54, 50:54] = 1, 2
    (data / "masks/own.png").write_bytes(cv2.imencode(".png", mask)[1].tobytes())
    for name in ("good", "overturned", "not kept"):
        review(data, ids[name], "pass")
    review(data, ids["confirmed"], "fail", '["dark"]')
    review(data, ids["missed"], "fail", '["bright"]')
    review(data, ids["corrected"], "fail", '["bright", "dark"]', "masks/own.png")
    return data, ids


def test_reviews_become_labels(
    reviewed: tuple[Path, dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, ids = reviewed
    out = tmp_path / "set"
    assert main(["history", "export", str(out)]) == 0
    printed = capsys.readouterr()
    assert f"{out}: 2 good and 3 defective images, of which 1 without a mask" in printed.out
    assert printed.err == f"left out: {ids['not kept']}: its image is not kept\n"
    dataset = read_dataset(out)
    assert dataset.classes == ("dark", "bright")
    samples = {Path(sample.name).stem: sample for sample in dataset.samples}
    assert samples.keys() == {
        ids[name] for name in ("good", "confirmed", "overturned", "missed", "corrected")
    }
    assert samples[ids["good"]].group == samples[ids["confirmed"]].group == "P_1"
    assert [samples[ids[name]].defective for name in ("good", "overturned", "confirmed", "missed")] == [
        *(False, False),
        *(True, True),
    ]
    assert main(["history", "export", str(out)]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_without_reviews_there_is_nothing_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PASSLINE_DATA_DIR", str(tmp_path / "data"))
    with serving(tmp_path) as client:
        inspect(client, PASSED)
    assert main(["history", "export", str(tmp_path / "set")]) == 2
    assert "has been reviewed" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()

"""The dry run: both verdicts for each image, over HTTP and over a folder, and nothing is changed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.__main__ import main
from tests.app.test_cli import app
from tests.app.test_inspections import refused
from tests.app.test_telemetry import samples

MakeClient = Callable[..., TestClient]
LENIENT = "name: strict\nother: {max_count: 5}\n"


def dry_run(client: TestClient, candidate: str, pictures: list[bytes], **fields: str) -> Any:
    files = [("images", (f"{number}.png", data)) for number, data in enumerate(pictures)]
    return client.post(
        "/v1/recipes/dry-run", files=[("candidate", ("r.yaml", candidate.encode())), *files], data=fields
    )


def test_it_tells_both_verdicts_of_each_picture(client: TestClient, dark: bytes, clean: bytes) -> None:
    judged = samples(client)
    response = dry_run(client, LENIENT, [dark, clean, b"", dark[:100], dark])
    assert response.status_code == 200, response.text
    answer = response.json()
    assert (answer["recipe"], answer["recipe_version"], answer["candidate"]) == ("strict", 1, "strict")
    numbers = {"images": 5, "unchanged": 1, "changed": 2, "problems": 2}
    assert answer["counts"] == numbers | {"changes": {"fail_to_pass": 2}}
    results = answer["results"]
    assert [each["filename"] for each in results] == [f"{number}.png" for number in range(5)]
    verdicts = {side: [each[side] and each[side]["verdict"] for each in results] for side in ("now", "then")}
    assert verdicts["now"] == ["fail", "pass", None, None, "fail"]
    assert verdicts["then"] == ["pass", "pass", None, None, "pass"]
    assert [each["problem"] and each["problem"]["code"] for each in results] == [
        *(None, None, "image_empty"),
        *("image_truncated", None),
    ]
    assert results[0]["now"]["reasons"][0]["rule"] == "max_count"
    assert results[0]["then"]["reasons"] == []
    counted = {name: value for name, value in samples(client).items() if "inspections_total" in name[0]}
    assert counted.items() <= judged.items()  # nothing was inspected for the line


@pytest.mark.parametrize(
    ("candidate", "fields", "recipe"),
    [
        ("name: new\n", {}, "tiny"),
        ("name: strict\n", {}, "strict"),
        ("name: strict\n", {"recipe": "generous"}, "generous"),
        ("name: new\n", {"camera_id": "top"}, "generous"),
        ("name: strict\n", {"camera_id": "top"}, "strict"),
    ],
)
def test_what_a_candidate_is_compared_with(
    make_client: MakeClient,
    tmp_path: Path,
    clean: bytes,
    candidate: str,
    fields: dict[str, str],
    recipe: str,
) -> None:
    (tmp_path / "strict.yaml").write_text(LENIENT)
    (tmp_path / "generous.yaml").write_text("name: generous\nother: {max_count: 9}\n")
    client = make_client(recipes_dir=tmp_path)
    client.put("/v1/activations", json={"cameras": {"top": "generous"}})
    assert dry_run(client, candidate, [clean], **fields).json()["recipe"] == recipe


def test_nothing_is_changed(client: TestClient, clean: bytes) -> None:
    before = client.get("/v1/recipes").json()
    assert dry_run(client, LENIENT, [clean]).status_code == 200
    assert dry_run(client, "name: new\n", [clean]).status_code == 200
    assert client.get("/v1/recipes").json() == before


@pytest.mark.parametrize(
    ("candidate", "fields", "code"),
    [
        ("name: a\nlimits: [", {}, "recipe_invalid"),
        ("name: a\nlimits: {drak: {max_count: 0}}", {}, "recipe_invalid"),
        ("name: a\n", {"recipe": "nope"}, "recipe_unknown"),
        ("name: a\n", {"mask": "png"}, "request_invalid"),
    ],
)
def test_what_is_wrong_for_all_is_said_once(
    client: TestClient, clean: bytes, candidate: str, fields: dict[str, str], code: str
) -> None:
    refused(dry_run(client, candidate, [clean], **fields), 422, code)


def test_it_needs_one_candidate_and_pictures_within_the_bounds(make_client: MakeClient, clean: bytes) -> None:
    client = make_client(max_batch_images=2, max_batch_bytes=5000, max_upload_bytes=5000)
    refused(dry_run(client, LENIENT, []), 422, "request_invalid")
    refused(dry_run(client, LENIENT, [clean] * 3), 413, "batch_too_large")
    refused(dry_run(client, LENIENT, [bytes(5000)]), 413, "body_too_large")
    alone = client.post("/v1/recipes/dry-run", files=[("images", clean)])
    assert refused(alone, 422, "request_invalid")["fields"][0]["field"] == "form.candidate"
    binary = client.post("/v1/recipes/dry-run", files=[("candidate", b"\xff"), ("images", clean)])
    assert refused(binary, 422, "request_invalid")["fields"][0]["field"] == "form.candidate"
    raw = client.post("/v1/recipes/dry-run", content=clean, headers={"Content-Type": "image/png"})
    refused(raw, 415, "media_type_unsupported")


def test_it_runs_through_the_queue_and_keeps_its_deadline(make_client: MakeClient, dark: bytes) -> None:
    client = make_client(queue_size=1, workers=1)
    assert dry_run(client, LENIENT, [dark] * 6).json()["counts"]["problems"] == 0
    files = [("candidate", LENIENT.encode()), *[("images", dark)] * 40]
    late = client.post("/v1/recipes/dry-run", files=files, headers={"X-Deadline-Ms": "1"}).json()
    assert {each["problem"]["code"] for each in late["results"] if each["problem"]} == {"deadline_exceeded"}


def test_over_a_folder(
    bundle_dir: Path, recipes_dir: Path, tmp_path: Path, dark: bytes, clean: bytes
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "a.png").write_bytes(clean)
    (pictures / "b.png").write_bytes(dark)
    candidate = tmp_path / "candidate.yaml"
    candidate.write_text(LENIENT)
    done = app("dry-run", candidate, pictures, bundle_dir=bundle_dir, recipes_dir=recipes_dir)
    assert (done.returncode, done.stderr) == (1, "")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["image", "now", "then", "decided", "by"]
    assert [row[1:3] for row in rows[1:3]] == [["pass", "pass"], ["fail", "pass"]]
    assert "1 of 2 verdicts change: 1 fail to pass" in done.stdout


def test_over_a_folder_by_another_recipe_and_with_a_bad_picture(
    bundle_dir: Path,
    tmp_path: Path,
    clean: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PASSLINE_BUNDLE_DIR", str(bundle_dir))
    (tmp_path / "a.png").write_bytes(clean)
    (tmp_path / "c.png").write_bytes(b"")
    candidate = tmp_path / "candidate.yaml"
    candidate.write_text("name: new\n")
    assert main(["dry-run", str(candidate), str(tmp_path), "--json", "--recipe", "tiny"]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert (answer["recipe"], answer["counts"]["unchanged"], answer["counts"]["problems"]) == ("tiny", 1, 1)
    candidate.write_text("name: a\nlimits: {drak: {max_count: 0}}")
    assert main(["dry-run", str(candidate), str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "drak" in printed.err

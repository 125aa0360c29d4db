"""Reviews over HTTP: what waits, who looks at it, what people decide, and that no two do the same work."""

import base64
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient

from app.access.keys import Scope, add_key
from app.database.connection import FILE
from tests.app.conftest import change_database, data_of
from tests.app.test_inspections import refused
from tests.tiny_bundle import png, tiny_picture

MakeClient = Callable[..., TestClient]
BOTH = {"sample_pass_rate": 1.0, "sample_fail_rate": 1.0}  # everything is drawn for the sample


class Box:
    """A service that demands keys, with two people."""

    def __init__(self, make_client: MakeClient, folder: Path, **settings: Any) -> None:
        file = folder / "keys.jsonl"
        scopes: tuple[tuple[str, Scope], ...] = (
            ("anna", "review"),
            ("ben", "review"),
            ("eve", "operate"),
            ("line", "inspect"),
        )
        self.tokens = {
            name: add_key(file, name, scope, recipes=() if scope == "operate" else ("*",))
            for name, scope in scopes
        }
        self.client = make_client(auth="on", keys_file=file, history="sync", **(BOTH | settings))

    def ask(self, who: str, method: str, path: str, **given: Any) -> Any:
        headers = {"X-API-Key": self.tokens[who]}
        return self.client.request(method, path, headers=headers, **given)

    def inspect(self, image: bytes) -> str:
        return str(self.ask("line", "POST", "/v1/inspections", files={"image": image}).json()["id"])

    def review(self, who: str, id: str, **given: Any) -> Any:
        return self.ask(who, "POST", f"/v1/inspections/{id}/reviews", json=given)

    def row(self, id: str) -> Any:
        return self.ask("anna", "GET", f"/v1/inspections/{id}").json()["row"]


@pytest.fixture
def box(make_client: MakeClient, tmp_path: Path) -> Box:
    return Box(make_client, tmp_path)


def mask_of(**classes: tuple[int, int, int, int]) -> str:
    """A label map of the tiny bundle's images, in base64; 1 is dark, 2 bright."""
    mask = np.zeros((96, 80), np.uint8)
    for value, name in enumerate(("dark", "bright"), 1):
        if name in classes:
            x, y, width, height = classes[name]
            mask[y : y + height, x : x + width] = value
    return base64.b64encode(cv2.imencode(".png", mask)[1].tobytes()).decode()


def test_a_decision_is_kept_with_who_and_when(box: Box, dark: bytes) -> None:
    id = box.inspect(dark)
    assert box.row(id)["review"] is None
    answer = box.review("anna", id, verdict="pass", comment="only dirt")
    assert answer.status_code == 201, answer.text
    found = box.row(id)["review"]
    assert found == answer.json()
    assert (found["verdict"], found["who"], found["comment"], found["classes"]) == (
        *("pass", "anna", "only dirt"),
        [],
    )
    assert not found["corrected"]
    reviewed = box.ask("ben", "GET", "/v1/inspections?reviewed=true").json()["items"]
    assert [row["id"] for row in reviewed] == [id]


def test_a_corrected_mask_is_stored_as_it_was_drawn(box: Box, dark: bytes) -> None:
    id = box.inspect(dark)
    mask = mask_of(dark=(3, 4, 5, 6), bright=(40, 50, 7, 8))
    answer = box.review("anna", id, verdict="fail", mask=mask).json()
    assert (answer["corrected"], answer["classes"]) == (True, ["dark", "bright"])
    with closing(sqlite3.connect(data_of(box.client) / FILE)) as database:
        ((name,),) = database.execute("SELECT mask_file FROM reviews").fetchall()
    stored = cv2.imread(str(data_of(box.client) / name), cv2.IMREAD_UNCHANGED)
    sent = cv2.imdecode(np.frombuffer(base64.b64decode(mask), np.uint8), cv2.IMREAD_UNCHANGED)
    assert stored is not None
    assert sent is not None
    assert np.array_equal(stored, sent)


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        ({}, "request_invalid", "verdict"),
        ({"verdict": "review"}, "request_invalid", "verdict"),
        ({"verdict": "fail", "classes": ["rust"]}, "request_invalid", "rust: the bundle has dark, bright"),
        ({"verdict": "pass", "classes": ["dark"]}, "request_invalid", "leave classes and mask out"),
        ({"verdict": "pass", "mask": mask_of(dark=(1, 1, 2, 2))}, "request_invalid", "leave classes and"),
        ({"verdict": "fail", "mask": mask_of()}, "request_invalid", "marks nothing"),
        ({"verdict": "fail", "mask": "?"}, "request_invalid", "not base64"),
        ({"verdict": "fail", "mask": "AAAA"}, "reference_mask_unreadable", "PNG"),
        (
            {"verdict": "fail", "classes": ["bright"], "mask": mask_of(dark=(1, 1, 2, 2))},
            "request_invalid",
            "the mask has dark",
        ),
        (
            {"verdict": "fail", "mask": base64.b64encode(png(tiny_picture(95, 80))).decode()},
            "reference_mask_size_mismatch",
            "80 x 96",
        ),
    ],
)
def test_a_wrong_decision_is_refused_by_name(
    box: Box, dark: bytes, given: dict[str, Any], code: str, says: str
) -> None:
    id = box.inspect(dark)
    assert says in refused(box.review("anna", id, **given), 422, code)["detail"]
    assert box.row(id)["review"] is None
    assert not list((data_of(box.client) / "masks").rglob("*-review.png"))


def test_a_review_of_somebody_else_is_not_overwritten_by_accident(box: Box, dark: bytes) -> None:
    id = box.inspect(dark)
    first = box.review("anna", id, verdict="pass").json()
    problem = refused(box.review("ben", id, verdict="fail", classes=["dark"]), 409, "review_conflict")
    assert f"anna has reviewed inspection {id} meanwhile (number {first['number']})" in problem["detail"]
    second = box.review("ben", id, verdict="fail", classes=["dark"], supersedes=first["number"])
    assert second.status_code == 201
    assert box.row(id)["review"]["who"] == "ben"
    reviews = box.ask("anna", "GET", f"/v1/inspections/{id}").json()["reviews"]
    assert [each["who"] for each in reviews] == ["anna", "ben"]


def test_a_review_taken_back_leaves_the_one_before_in_force(box: Box, dark: bytes) -> None:
    id = box.inspect(dark)
    first = box.review("anna", id, verdict="pass").json()["number"]
    second = box.review("ben", id, verdict="fail", classes=["dark"], supersedes=first).json()["number"]
    path = f"/v1/inspections/{id}/reviews/"
    refused(box.ask("anna", "DELETE", path + str(second)), 409, "review_conflict")
    assert box.ask("ben", "DELETE", path + str(second)).status_code == 204
    assert box.row(id)["review"]["number"] == first
    refused(box.ask("ben", "DELETE", path + str(second)), 404, "review_not_found")
    assert box.ask("eve", "DELETE", path + str(first)).status_code == 204  # an engineer may
    assert box.row(id)["review"] is None
    assert box.ask("ben", "GET", "/v1/inspections?reviewed=true").json()["items"] == []
    assert [
        each["withdrawn"] for each in box.ask("ben", "GET", f"/v1/inspections/{id}").json()["reviews"]
    ] == [*(True, True)]
    refused(box.ask("ben", "DELETE", "/v1/inspections/0/reviews/1"), 404, "inspection_not_found")


def test_every_decision_is_in_the_audit_log(box: Box, dark: bytes) -> None:
    id = box.inspect(dark)
    number = box.review("anna", id, verdict="pass").json()["number"]
    box.ask("anna", "DELETE", f"/v1/inspections/{id}/reviews/{number}")
    with closing(sqlite3.connect(data_of(box.client) / FILE)) as database:
        entries = database.execute(
            "SELECT who, action, object FROM audit WHERE action LIKE 'review.%' ORDER BY number"
        ).fetchall()
    assert entries == [("anna", "review.add", id), ("anna", "review.withdraw", id)]


def test_the_queue_has_the_most_urgent_first(make_client: MakeClient, tmp_path: Path) -> None:
    box = Box(make_client, tmp_path)
    ids = [box.inspect(png(tiny_picture(96, 80))) for _ in range(3)]
    reasons = (("sample", 0.5), ("verdict", 4.5), ("near_threshold", 2.5))
    for id, (reason, rank) in zip(ids, reasons, strict=True):
        statement = f"UPDATE inspections SET queue_reason = '{reason}', queue_rank = {rank} WHERE id = '{id}'"
        change_database(data_of(box.client), statement)
    queue = box.ask("anna", "GET", "/v1/reviews/queue").json()
    assert [item["row"]["id"] for item in queue["items"]] == [ids[1], ids[2], ids[0]]
    assert [item["reason"] for item in queue["items"]] == ["verdict", "near_threshold", "sample"]
    assert queue["waiting"] == 3
    box.review("anna", ids[1], verdict="pass")
    assert box.ask("anna", "GET", "/v1/reviews/queue?limit=1").json()["waiting"] == 2
    box.client.app.state.service.history.reviews.mark_shadow(ids[0])  # type: ignore[attr-defined]
    queue = box.ask("anna", "GET", "/v1/reviews/queue").json()
    assert [(item["row"]["id"], item["reason"]) for item in queue["items"]] == [
        (ids[0], "shadow"),
        (ids[2], "near_threshold"),
    ]


def claimed(box: Box, who: str, count: int) -> list[str]:
    answer = box.ask(who, "POST", "/v1/reviews/claims", json={"count": count})
    assert answer.status_code == 200, answer.text
    return [item["row"]["id"] for item in answer.json()["items"]]


def test_two_people_never_get_the_same_work(box: Box, clean: bytes) -> None:
    ids = {box.inspect(clean) for _ in range(5)}
    annas, bens = claimed(box, "anna", 3), claimed(box, "ben", 3)
    assert len(annas) == 3
    assert set(annas) | set(bens) == ids
    assert len(bens) == 2
    assert claimed(box, "anna", 3) == annas  # the page loaded again
    refused(box.review("ben", annas[0], verdict="pass"), 409, "review_conflict")
    assert box.review("anna", annas[0], verdict="pass").status_code == 201
    assert box.ask("anna", "DELETE", f"/v1/reviews/claims/{annas[1]}").status_code == 204
    assert set(claimed(box, "ben", 3)) == {*bens, annas[1]}
    queue = box.ask("anna", "GET", "/v1/reviews/queue").json()["items"]
    assert {item["row"]["id"]: item["claimed_by"] for item in queue} == {
        annas[2]: "anna",
        **dict.fromkeys((*bens, annas[1]), "ben"),
    }


def test_a_claim_ends_by_itself(box: Box, clean: bytes) -> None:
    id = box.inspect(clean)
    assert claimed(box, "anna", 1) == [id]
    assert claimed(box, "ben", 1) == []
    change_database(data_of(box.client), "UPDATE claims SET until_us = until_us - 601000000")
    assert claimed(box, "ben", 1) == [id]


def test_many_who_claim_at_once_share_the_work(box: Box, clean: bytes) -> None:
    ids = {box.inspect(clean) for _ in range(12)}
    together = threading.Barrier(2)

    def take(who: str) -> list[str]:
        together.wait()
        return [id for _ in range(3) for id in claimed(box, who, 6)]

    with ThreadPoolExecutor(2) as threads:
        annas, bens = map(set, threads.map(take, ("anna", "ben")))
    assert not annas & bens
    assert annas | bens == ids


def test_a_key_to_inspect_sees_no_reviews(box: Box, clean: bytes) -> None:
    id = box.inspect(clean)
    refused(box.ask("line", "GET", "/v1/reviews/queue"), 403, "scope_missing")
    refused(box.ask("line", "POST", f"/v1/inspections/{id}/reviews", json={}), 403, "scope_missing")
    refused(box.ask("anna", "POST", "/v1/reviews/claims", json={"count": 0}), 422, "request_invalid")


def test_what_is_not_drawn_and_not_interesting_waits_for_nobody(
    make_client: MakeClient, tmp_path: Path, clean: bytes
) -> None:
    box = Box(make_client, tmp_path, sample_pass_rate=1e-9)
    id = box.inspect(clean)
    assert box.row(id)["queue_reason"] is None
    assert box.ask("anna", "GET", "/v1/reviews/queue").json() == {"items": [], "waiting": 0}

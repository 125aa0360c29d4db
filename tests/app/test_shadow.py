"""A candidate in shadow: what it says of live images is told, kept from callers, and never in their way."""

import hashlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.app.test_bundle_swaps import held_up
from tests.app.test_bundles import SPECK, WAIT_S, promote, propose
from tests.app.test_bundles import bundles_dir as bundles_dir
from tests.app.test_bundles import make as make
from tests.app.test_inspections import post, refused
from tests.app.test_recipes import put
from tests.app.test_telemetry import samples
from tests.inspection.bad_input import encode
from tests.tiny_bundle import tiny_picture

MakeClient = Callable[..., TestClient]


@pytest.fixture
def shadowed(make: MakeClient) -> TestClient:
    """Version 1 judges, and version 2, which lets specks pass, is in its shadow."""
    client = make()
    assert propose(client, "2", shadow=True)["shadow"]["judged"] == 0
    return client


def counts(client: TestClient) -> dict[str, Any]:
    """What came of the shadow so far."""
    found: dict[str, Any] = client.get("/v1/bundles/candidate/disagreements").json()["counts"]
    return found


def looked(client: TestClient, pictures: int) -> dict[str, Any]:
    """The counts once something has come of so many images."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        found = counts(client)
        if found["judged"] + found["dropped"] + found["failed"] >= pictures:
            return found
        time.sleep(0.005)
    raise AssertionError(f"{found} of {pictures} images")


def test_the_shadow_is_told_the_significant_bits_too(shadowed: TestClient) -> None:
    deep = encode(tiny_picture(96, 80).astype(np.uint16) << 4, "PNG")
    assert post(shadowed, deep, significant_bits="12")["verdict"] == "pass"
    assert looked(shadowed, 1)["judged"] == 1


def test_a_disagreement_is_told_with_all_that_finds_the_picture(shadowed: TestClient, dark: bytes) -> None:
    answer = shadowed.post(
        "/v1/inspections",
        files={"image": SPECK},
        data={"part_id": "part-7", "camera_id": "top"},
        headers={"X-Request-ID": "speck-1"},
    ).json()
    assert (answer["verdict"], answer["model"]["version"]) == ("fail", "1")
    assert looked(shadowed, 1) == {
        "judged": 1,
        "dropped": 0,
        "failed": 0,
        "disagreements": {"fail_to_pass": 1},
    }
    post(shadowed, dark)  # both fail it
    assert looked(shadowed, 2)["judged"] == 2
    found = shadowed.get("/v1/bundles/candidate/disagreements").json()
    assert found["counts"]["disagreements"] == {"fail_to_pass": 1}
    (one,) = found["latest"]
    active, candidate = one.pop("active"), one.pop("candidate")
    assert one.pop("when")
    assert one == {
        "kind": "fail_to_pass",
        "request_id": "speck-1",
        "inspection_id": answer["id"],
        "image_sha256": hashlib.sha256(SPECK).hexdigest(),
        "part_id": "part-7",
        "camera_id": "top",
    }
    assert active["reasons"] == answer["reasons"]
    told = [(each["version"], each["verdict"], each["recipe"]) for each in (active, candidate)]
    assert told == [("1", "fail", "tiny"), ("2", "pass", "tiny")]
    metrics = samples(shadowed)
    assert metrics["passline_shadow_pictures_total", (("outcome", "judged"),)] == 2
    assert metrics["passline_shadow_disagreements_total", (("kind", "fail_to_pass"),)] == 1
    assert metrics["passline_inspections_total", (("recipe", "tiny"), ("verdict", "fail"))] == 2
    assert ("passline_inspections_total", (("recipe", "tiny"), ("verdict", "pass"))) not in metrics
    promote(shadowed)
    (change,) = shadowed.get("/v1/bundles/changes").json()["changes"]
    assert change["shadow"]["disagreements"] == {"fail_to_pass": 1}


def test_live_pictures_go_first(shadowed: TestClient) -> None:
    with held_up(shadowed):  # one of two workers
        post(shadowed, SPECK)
        assert counts(shadowed)["dropped"] == 1
    post(shadowed, SPECK)
    assert looked(shadowed, 2)["judged"] == 1
    assert samples(shadowed)["passline_shadow_pictures_total", (("outcome", "dropped"),)] == 1


def test_each_picture_is_judged_by_the_recipe_it_would_be_judged_by(shadowed: TestClient) -> None:
    assert put(shadowed, "strict", "name: strict\nother: {max_count: 0}\n").status_code == 200
    post(shadowed, SPECK, recipe="strict")  # which both fail
    assert looked(shadowed, 1)["disagreements"] == {}
    assert put(shadowed, "strict", "name: strict\n").status_code == 200
    post(shadowed, SPECK, recipe="strict")
    assert looked(shadowed, 2)["judged"] == 2


def test_what_the_candidate_cannot_judge_is_counted_and_the_caller_is_answered(make: MakeClient) -> None:
    client = make()
    assert put(client, "shiny", "name: shiny\nlimits:\n  bright: {max_count: 0}\n").status_code == 200
    propose(client, "3", shadow=True)  # which has no such class
    assert post(client, SPECK, recipe="shiny")["model"]["version"] == "1"
    assert looked(client, 1)["failed"] == 1


def test_it_is_switched_on_and_off_without_another_load(make: MakeClient) -> None:
    client = make()
    since = propose(client, "2")["since"]
    address = "/v1/bundles/candidate/disagreements"
    refused(client.get(address), 404, "candidate_not_found")
    assert propose(client, "2", shadow=True)["since"] == since
    post(client, SPECK)
    assert looked(client, 1)["judged"] == 1
    assert propose(client, "2", shadow=False)["since"] == since
    refused(client.get(address), 404, "candidate_not_found")
    client.delete("/v1/bundles/candidate")
    refused(client.get(address), 404, "candidate_not_found")


def test_a_disagreement_waits_for_a_person_before_the_random_sample(make: MakeClient, dark: bytes) -> None:
    client = make(history="sync", sample_fail_rate=1.0)
    propose(client, "2", shadow=True)
    drawn = post(client, dark)["id"]  # both fail it
    assert looked(client, 1)["judged"] == 1
    disputed = post(client, SPECK)["id"]
    assert looked(client, 2)["disagreements"] == {"fail_to_pass": 1}
    until = time.monotonic() + WAIT_S
    while (queue := client.get("/v1/reviews/queue").json()["items"])[0]["reason"] != "shadow":
        assert time.monotonic() < until, queue
        time.sleep(0.01)
    assert [item["row"]["id"] for item in queue] == [disputed, drawn]

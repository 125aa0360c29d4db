"""Statistics over HTTP: counts, steps of hours, days and shifts, the control chart, rates in operation."""

from collections.abc import Callable
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from starlette.testclient import TestClient

from app.database.times import HOUR_US, to_us
from app.history.statistics import Calendar, p_chart
from app.schemas.statistics import Counts, SeriesPoint
from tests.app.conftest import change_database, data_of
from tests.app.test_inspections import post, refused

MakeClient = Callable[..., TestClient]
BERLIN = ZoneInfo("Europe/Berlin")
THREE = Calendar(BERLIN, (time(6), time(14), time(22)))


def hour(text: str) -> int:
    """Microseconds of a time in UTC."""
    return to_us(datetime.fromisoformat(text).replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("at", "step", "start"),
    [
        ("2026-12-01T12:00", "hour", "2026-12-01T12:00+00:00"),
        ("2026-12-01T12:00", "day", "2026-12-01T00:00+01:00"),
        ("2026-12-01T23:00", "day", "2026-12-02T00:00+01:00"),
        ("2026-12-01T05:00", "shift", "2026-12-01T06:00+01:00"),
        ("2026-12-01T04:00", "shift", "2026-11-30T22:00+01:00"),
        ("2026-12-01T21:00", "shift", "2026-12-01T22:00+01:00"),
        ("2026-07-01T03:00", "shift", "2026-06-30T22:00+02:00"),
        ("2026-07-01T04:00", "shift", "2026-07-01T06:00+02:00"),
        ("2026-10-25T01:00", "shift", "2026-10-24T22:00+02:00"),  # the night of 25 hours
    ],
)
def test_steps_begin_in_local_time(at: str, step: Any, start: str) -> None:
    assert THREE.start_of(step)(hour(at)) == datetime.fromisoformat(start)


def points(*counts: tuple[int, int]) -> list[SeriesPoint]:
    """Hours with so many passes and fails."""
    return [
        SeriesPoint(
            time=datetime(2026, 1, 1, number, tzinfo=UTC),
            counts=Counts(passed=passed, failed=failed, review=0),
            mean_ms=1,
            classes={},
        )
        for number, (passed, failed) in enumerate(counts)
    ]


def test_the_control_chart_marks_what_chance_does_not_explain() -> None:
    chart = p_chart(points(*[(95, 5)] * 10, (80, 20), (100, 0), (9, 1)))
    assert chart is not None
    assert [point.outside for point in chart.points] == [*[False] * 10, True, False, False]
    wide, narrow = chart.points[12], chart.points[0]
    assert wide.high - wide.low > narrow.high - narrow.low  # fewer inspections say less
    assert chart.centre == pytest.approx(71 / 1210)
    assert p_chart([]) is None


@pytest.fixture
def box(make_client: MakeClient, tmp_path: Path) -> TestClient:
    every = {"sample_pass_rate": 1.0, "sample_fail_rate": 1.0}
    return make_client(history="sync", recipes_dir=tmp_path, time_zone="Europe/Berlin", **every)


def statistics(client: TestClient, query: str = "") -> Any:
    response = client.get(f"/v1/statistics{query}")
    assert response.status_code == 200, response.text
    return response.json()


def test_a_service_that_has_inspected_nothing_says_so(box: TestClient) -> None:
    found = statistics(box)
    assert found["counts"] == {"passed": 0, "failed": 0, "review": 0}
    assert (found["series"], found["p_chart"], found["latency_ms"]) == ([], None, None)
    assert found["rates"]["why"].startswith("0 inspections of the sample are reviewed")


def test_counts_are_those_of_the_inspections(box: TestClient, dark: bytes, clean: bytes) -> None:
    for image, camera in ((dark, "top"), (dark, "side"), (clean, "top"), (clean, None)):
        post(box, image, **({"camera_id": camera} if camera else {}))
    found = statistics(box)
    assert found["counts"] == {"passed": 2, "failed": 2, "review": 0}
    assert found["classes"] == [{"name": "dark", "count": 2}]
    assert [(each["camera_id"], each["counts"]["failed"]) for each in found["cameras"]] == [
        (None, 0),
        ("side", 1),
        ("top", 1),
    ]
    assert sum(point["counts"]["passed"] for point in found["series"]) == 2
    assert found["latency_ms"]["inspections"] == 4
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p99"]
    assert statistics(box, "?camera=top&by=day")["counts"] == {"passed": 1, "failed": 1, "review": 0}
    assert statistics(box, "?camera=none")["counts"]["passed"] == 0
    assert statistics(box, "?from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z")["series"] == []


def test_old_hours_are_counted_in_their_own_step(box: TestClient, clean: bytes) -> None:
    post(box, clean)
    day = 24 * HOUR_US
    change_database(data_of(box), f"UPDATE hourly SET hour_us = hour_us - {day}, count = 40, total_ms = 400")
    post(box, clean)
    series = statistics(box)["series"]
    assert [point["counts"]["passed"] for point in series] == [40, 1]
    assert series[0]["mean_ms"] == 10


def test_rates_come_from_the_reviews_in_force(box: TestClient, dark: bytes, clean: bytes) -> None:
    passed = [post(box, clean)["id"] for _ in range(28)]
    failed = [post(box, dark)["id"] for _ in range(4)]

    def review(id: str, **asked: Any) -> int:
        answer = box.post(f"/v1/inspections/{id}/reviews", json=asked)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["number"])

    for id in passed[1:]:
        review(id, verdict="pass")
    for id in failed[1:]:
        review(id, verdict="fail", classes=["dark"])
    escaped = review(passed[0], verdict="fail", classes=["bright"])
    wrong = review(failed[0], verdict="fail", classes=["dark"])
    review(failed[0], verdict="pass", supersedes=wrong)
    rates = statistics(box)["rates"]
    assert (rates["drawn"], rates["reviewed"], rates["why"]) == (32, 32, None)
    assert rates["escape"]["value"] == pytest.approx(1 / 4)  # one of four defective parts passed
    assert rates["overkill"]["value"] == pytest.approx(1 / 28)  # one of 28 good parts failed
    assert 0 < rates["escape"]["low"] < 0.25 < rates["escape"]["high"] < 0.8
    assert box.delete(f"/v1/inspections/{passed[0]}/reviews/{escaped}").status_code == 204
    assert statistics(box)["rates"]["reviewed"] == 31


@pytest.mark.parametrize(
    "query",
    [
        "?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
        "?from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z",
        "?by=week",
        "?from=yesterday",
        "?from=2026-01-02T00:00:00",
    ],
)
def test_a_period_that_is_none_is_refused(box: TestClient, query: str) -> None:
    refused(box.get(f"/v1/statistics{query}"), 422, "request_invalid")

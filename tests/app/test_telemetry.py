"""Metrics with bounded labels, and logs that machines can read."""

import json
import logging
import sys
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from app.telemetry.metrics import JsonLines
from tests.app.test_batch import batch
from tests.app.test_inspections import post


@pytest.fixture
def fresh(make_client: Callable[..., TestClient]) -> TestClient:
    return make_client()


def samples(client: TestClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of /metrics by name and labels."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_verdicts_and_problems_are_counted(fresh: TestClient, dark: bytes, clean: bytes) -> None:
    post(fresh, dark)
    post(fresh, clean, recipe="strict", camera_id="camera-1", part_id="part-1")
    batch(fresh, [clean, b""])
    fresh.post("/v1/inspections", files={"image": b""})
    fresh.get("/nowhere/at/all")
    found = samples(fresh)
    assert found["passline_inspections_total", (("recipe", "tiny"), ("verdict", "fail"))] == 1
    assert found["passline_inspections_total", (("recipe", "tiny"), ("verdict", "pass"))] == 1
    assert found["passline_inspections_total", (("recipe", "strict"), ("verdict", "pass"))] == 1
    assert found["passline_errors_total", (("code", "image_empty"),)] == 2
    assert found["passline_errors_total", (("code", "not_found"),)] == 1
    assert found["passline_http_requests_total", (("route", "none"), ("status", "404"))] == 1
    assert found["passline_http_requests_total", (("route", "/v1/inspections"), ("status", "200"))] == 2
    assert found["passline_step_seconds_count", (("step", "inference"),)] == 3
    assert found["passline_camera_inspections_total", (("camera", "camera-1"), ("verdict", "pass"))] == 1
    assert found["passline_camera_inspections_total", (("camera", "none"), ("verdict", "fail"))] == 1
    assert found["passline_camera_defective_total", (("camera", "none"), ("defect_class", "dark"))] == 1
    assert "part-1" not in str(found)


def test_what_is_served_and_how_busy_it_is(fresh: TestClient) -> None:
    found = samples(fresh)
    served = {
        "artifact": "fp32",
        "bundle": "tiny",
        "execution_provider": "CPUExecutionProvider",
        "version": "1",
    }
    assert found["passline_model_info", tuple(served.items())] == 1
    assert found["passline_ready", ()] == 1
    assert found["passline_queue_places", ()] == 32
    for gauge in ("queue_waiting", "queue_running", "upload_bytes"):
        assert found[f"passline_{gauge}", ()] == 0


def test_each_app_counts_for_itself(make_client: Callable[..., TestClient], dark: bytes) -> None:
    first, second = make_client(), make_client()
    post(first, dark)
    assert not any(name == "passline_inspections_total" for name, _ in samples(second))


def test_log_lines_are_json_with_everything_a_record_holds() -> None:
    try:
        raise ValueError("why")
    except ValueError:
        record = logging.LogRecord("a.b", logging.WARNING, __file__, 1, "%s\n!", ("x",), sys.exc_info())
    record.__dict__["path"] = object
    line = JsonLines().format(record)
    assert "\n" not in line
    read = json.loads(line)
    assert (read["level"], read["logger"], read["message"]) == ("warning", "a.b", "x\n!")
    assert "ValueError: why" in read["exception"]
    assert read["time"].endswith("+00:00")
    assert read["request_id"] == "none"
    assert "path" in read
    assert "args" not in read

"""The input gate over HTTP: what is not like the known images is reviewed, with the reason, and counted."""

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, generate_latest
from starlette.testclient import TestClient

from app.commands.folder import verdict_cells
from app.inspection.bundle.bundle import Bundle
from app.schemas.inspections import InspectionAnswer
from app.telemetry.drift import IDLE_S, SPARE_S, CameraMetrics
from tests.app.test_inspections import post
from tests.app.test_telemetry import samples
from tests.tiny_bundle import GRAIN, png, tiny_picture, write_tiny_bundle

DARK = (20, 30, 12, 9)


@pytest.fixture(scope="module")
def gated_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("gated") / "tiny", gate=True)


@pytest.fixture
def gated(make_client: Callable[..., TestClient], gated_dir: Path) -> TestClient:
    return make_client(bundle_dir=gated_dir, max_cameras=1, drift_window=10)


def grained(dark: tuple[int, int, int, int] | None = None) -> NDArray[np.uint8]:
    return tiny_picture(96, 80, dark, GRAIN)


def blurred() -> NDArray[np.uint8]:
    return np.asarray(cv2.GaussianBlur(grained(DARK), (0, 0), 2), np.uint8)


def test_series_of_cameras_that_send_no_more_give_up_their_place(gated: TestClient) -> None:
    answer = InspectionAnswer.model_validate(post(gated, png(grained(DARK))))
    now, registry = 1000.0, CollectorRegistry()
    metrics = CameraMetrics(registry, most=1, window=3, clock=lambda: now)
    gate = Bundle.load(gated.app.state.service.settings.bundle_dir).artifacts[0].gate  # type: ignore[attr-defined]
    metrics.expect(answer.model, gate)

    def send(camera: str) -> None:
        metrics.inspected(answer.model_copy(update={"camera_id": camera}))

    def cameras() -> set[str]:
        return set(re.findall(r'camera="([^"]*)"', generate_latest(registry).decode()))

    for _ in range(3):  # a full drift window
        send("invented")
    send("real")
    assert cameras() == {"invented", "other"}
    assert "passline_gate_psi{" in generate_latest(registry).decode()
    now += SPARE_S
    send("real")
    assert cameras() == {"real", "other"}
    assert "passline_gate_psi{" not in generate_latest(registry).decode()
    now += IDLE_S
    metrics.forget_idle()
    assert cameras() == {"other"}


def test_ordinary_pictures_are_judged_as_without_a_gate(gated: TestClient) -> None:
    good, bad = post(gated, png(grained())), post(gated, png(grained(DARK)))
    assert (good["verdict"], good["reasons"]) == ("pass", [])
    assert (bad["verdict"], [each["rule"] for each in bad["reasons"]]) == ("fail", ["max_count"])
    assert good["gate_scores"]["brightness"] == pytest.approx(128, abs=2)
    assert good["timings_ms"]["gate"] > 0


def test_blurred_dark_and_other_pictures_are_reviewed(gated: TestClient) -> None:
    other = tiny_picture(96, 80, grain=3 * GRAIN)
    for picture, rule in ((blurred(), "blur"), (grained() // 2, "exposure"), (other, "product")):
        answer = post(gated, png(picture))
        assert answer["verdict"] == "review"
        (reason,) = [each for each in answer["reasons"] if each["rule"] == rule]
        assert reason["defect_class"] is None
        beyond = reason["measured"] > reason["limit"]
        assert beyond == (rule == "product")
    _, why, _ = verdict_cells(post(gated, png(grained() // 2)))
    assert "Brightness 64 grey levels, below the limit of 90 grey levels" in why


def test_defects_that_the_recipe_judges_are_counted_whatever_the_verdict(
    make_client: Callable[..., TestClient], gated_dir: Path, tmp_path: Path
) -> None:
    aside = "name: aside\nroi: [{polygon_px: [[60, 5], [90, 5], [90, 20], [60, 20]]}]\n"
    (tmp_path / "aside.yaml").write_text(aside)
    client = make_client(bundle_dir=gated_dir, recipes_dir=tmp_path)
    stopped = post(client, png(blurred()), camera_id="top")
    assert (stopped["verdict"], len(stopped["defects"])) == ("review", 1)
    assert post(client, png(grained(DARK)), camera_id="left", recipe="aside")["verdict"] == "pass"
    found = samples(client)
    assert found["passline_camera_defective_total", (("camera", "top"), ("defect_class", "dark"))] == 1
    assert ("passline_camera_defective_total", (("camera", "left"), ("defect_class", "dark"))) not in found


def test_gate_and_drift_are_counted_by_camera(gated: TestClient) -> None:
    for _ in range(10):
        post(gated, png(blurred()), camera_id="top")
        post(gated, png(grained()), camera_id="left")
        post(gated, png(grained()), camera_id="right")
    found = samples(gated)
    assert found["passline_gate_stopped_total", (("camera", "top"), ("rule", "blur"))] == 10
    assert found["passline_camera_inspections_total", (("camera", "top"), ("verdict", "review"))] == 10
    assert found["passline_camera_inspections_total", (("camera", "other"), ("verdict", "pass"))] == 20
    assert "left" not in str(found)
    assert found["passline_gate_psi", (("camera", "top"), ("score", "sharpness"))] > 0.25
    assert found["passline_gate_psi", (("camera", "other"), ("score", "sharpness"))] > 0


def test_drift_is_not_told_by_few_pictures(gated: TestClient) -> None:
    for _ in range(9):
        post(gated, png(grained()))
    assert not [name for name, _ in samples(gated) if name == "passline_gate_psi"]


def test_without_a_gate_cameras_are_counted_all_the_same(client: TestClient, clean: bytes) -> None:
    answer = post(client, clean, camera_id="bare")
    assert answer["gate_scores"] is None
    key = "passline_camera_inspections_total", (("camera", "bare"), ("verdict", "pass"))
    assert samples(client)[key] == 1

"""The population stability index by hand, and what the alert rules compare it with."""

import re

import numpy as np
import pytest
import yaml

from app.inspection.bundle.artifact import GateCheck
from app.telemetry.drift import Window
from tests.markdown import ROOT

CHECK = GateCheck(score="brightness", edges=(10.0, 20.0, 30.0), shares=(0.25, 0.25, 0.25, 0.25))
ALERTS = yaml.safe_load((ROOT / "docker/alerts.yml").read_text())


def filled(size: int, values: list[float]) -> Window:
    window = Window(CHECK, size)
    for value in values:
        window.add(value)
    return window


def test_index_by_hand() -> None:
    # shares of 0.4, 0.3, 0.2 and 0.1 beside quarters, with values on a bin's upper edge
    values = [10.0] * 4000 + [20.0] * 3000 + [21.0] * 2000 + [99.0] * 1000
    expected = sum((a - 0.25) * np.log(a / 0.25) for a in (0.4, 0.3, 0.2, 0.1))
    assert filled(10_000, values).stability_index() == pytest.approx(expected, rel=1e-2)
    assert filled(10_000, values).stability_index() > 0.1


def test_same_distribution_has_no_drift() -> None:
    window = filled(1000, np.random.default_rng(0).uniform(0, 40, 1000).tolist())
    assert 0 <= window.stability_index() < 0.05


def test_only_the_last_pictures_count() -> None:
    before, after = [5.0] * 300, [5.0, 15.0, 25.0, 35.0] * 25
    assert filled(100, before).stability_index() > 1
    assert filled(100, before + after).stability_index() == pytest.approx(0, abs=1e-3)
    assert not filled(100, before[:99]).full


def test_a_bin_that_training_never_saw_is_finite() -> None:
    never = CHECK.model_copy(update={"shares": (1.0, 0.0, 0.0, 0.0)})
    window = Window(never, 50)
    for _ in range(50):
        window.add(35.0)
    assert 1 < window.stability_index() < 100


def test_alerts_see_what_is_sudden_what_is_slow_and_what_was_always_so() -> None:
    exprs = [rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]]
    of_index = [expr for expr in exprs if "passline_gate_psi" in expr]
    before = {"".join(re.findall(r"offset (\w+)", expr)) for expr in of_index}
    assert before == {"1d", "7d", ""}
    falls = [expr for expr in exprs if "passline_camera_defective_total" in expr and "< 0.5 *" in expr]
    assert falls
    assert all(expr.count("(") == expr.count(")") for expr in exprs)

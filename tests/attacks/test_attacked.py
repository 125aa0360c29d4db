"""A short mix of all attacks: the camera gets every answer, and the service has no fault of its own."""

from pathlib import Path

import pytest

from tests.benchmarks import attacked


@pytest.mark.slow
def test_a_camera_is_served_beside_attacks(bundle_dir: Path) -> None:
    found = attacked.measure(bundle_dir, minutes=0.5, turn_s=10)
    assert found.wrong == 0, found.report
    assert found.internal_errors == 0, found.report
    assert found.after_mib - found.idle_mib < 100, found.report
    assert len(found.attacked_ms) > 10

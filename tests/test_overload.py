"""Three times as many images as can be judged: nothing but refusals and the answers each gets alone."""

from pathlib import Path

import pytest

from tests.benchmarks import overload
from tests.slow_bundle import write_slow_bundle


@pytest.mark.slow
def test_under_overload_answers_are_refusals_or_as_alone(tmp_path: Path) -> None:
    outcome = overload.measure(write_slow_bundle(tmp_path), seconds=2.0, queue_size=8, threads=1)
    assert all(goal.reached for goal in outcome.goals), outcome.report
    assert outcome.accepted_ms
    assert outcome.refused, outcome.report

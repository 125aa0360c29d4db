"""The soak in its short form: nothing is answered wrongly, and nothing grows with every image."""

from pathlib import Path

import pytest

from tests.benchmarks import soak
from tests.tiny_bundle import write_tiny_bundle

MINUTES, SAMPLES = 0.75, 18
# A few thousand images tell less than the whole soak: memory goes up and down by more than a small leak
# would add, and pools of threads may still be filling.
MOST_SLOPE = 10.0  # MB per 1,000 pictures: 10 kB an image
MOST_THREADS = 3


@pytest.mark.slow
def test_a_minute_of_anything_leaves_the_service_as_it_was(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path, tile=128)
    found = soak.soak(bundle, MINUTES, SAMPLES, sizes=((128, 128), (150, 140)))
    assert not found.traffic.wrong, found.traffic.wrong[:5]
    assert len(found.traffic.requests) == 8, found.report
    assert found.mb_per_1000_pictures < MOST_SLOPE, found.report
    assert found.more("files") <= 0, found.report
    assert found.more("threads") <= MOST_THREADS, found.report


def test_growth_is_seen_and_coming_and_going_is_not() -> None:
    assert soak.growth([7, 7, 9, 7, 7, 7] * 4) == 0
    assert soak.growth(list(range(24))) > 5


def test_slope_is_that_of_the_samples_after_the_warm_up() -> None:
    samples = [
        soak.Sample(1000 * each, 100.0 if each < 10 else 100.0 + 3 * each, 7, 12) for each in range(30)
    ]
    assert soak.slope(samples[10:]) == pytest.approx(3.0)

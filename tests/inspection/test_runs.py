"""Runs and regions of large masks are found band by band, and are those of the whole."""

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.inspection.measuring import runs as module
from app.inspection.measuring.runs import find_runs, labels_of


def regions_of(label_map: NDArray[np.uint8], value: int) -> list[bytes]:
    """Each region by its pixels, in the order of the first of each."""
    count, labels = cv2.connectedComponents((label_map == value).astype(np.uint8), connectivity=8)
    found = [np.flatnonzero(labels == number) for number in range(1, count)]
    return [each.tobytes() for each in sorted(found, key=lambda pixels: int(pixels[0]))]


def regions_by_runs(label_map: NDArray[np.uint8], value: int) -> list[bytes]:
    runs = find_runs(label_map, value)
    found = []
    for number, box in enumerate(runs.boxes()):
        whole = np.zeros((label_map.shape[0] + 2, label_map.shape[1] + 2), np.uint8)
        left, top, right, bottom = box.tolist()
        whole[top : bottom + 3, left : right + 3] = runs.mask_of(number, box)
        pixels = np.flatnonzero(whole[1:-1, 1:-1])
        own = runs.region == number
        spans = zip(runs.row[own].tolist(), runs.first[own].tolist(), runs.last[own].tolist(), strict=True)
        width = label_map.shape[1]
        assert pixels.tolist() == [
            row * width + x for row, first, last in spans for x in range(first, last + 1)
        ]
        assert runs.start[number] == np.flatnonzero(own)[0]
        found.append(pixels.tobytes())
    return sorted(found, key=lambda pixels: int(np.frombuffer(pixels, np.intp)[0]))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([0.05, 0.3, 0.6]),
    st.sampled_from([1, 40, 150]),
    st.integers(0, 99),
)
def test_bands_change_nothing(
    monkeypatch: pytest.MonkeyPatch, height: int, width: int, share: float, band: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    label_map = ((rng.random((height, width)) < share) * rng.integers(1, 3, (height, width))).astype(np.uint8)
    monkeypatch.setattr(module, "BAND_PX", band)
    assert labels_of(label_map) == sorted(set(np.unique(label_map).tolist()) - {0})
    for value in labels_of(label_map):
        assert regions_by_runs(label_map, value) == regions_of(label_map, value)


def test_a_region_that_winds_through_many_bands_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BAND_PX", 30)
    mask = np.zeros((31, 30), bool)
    mask[:, ::2] = True  # teeth, which only the last band joins
    assert len(find_runs(mask).start) == 15
    mask[-1] = True
    assert len(find_runs(mask).start) == 1
    mask[15] = False
    assert len(find_runs(mask).start) == 16

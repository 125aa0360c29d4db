"""Gaps between defects, held against every pixel's distance to every other."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from app.inspection.measuring import measure as under_test
from app.inspection.measuring.measure import gaps
from app.inspection.measuring.runs import find_runs


def by_every_pixel(label_map: NDArray[np.uint8], classes: int) -> list[float]:
    """The same by trying all pairs of pixels."""
    regions = []
    for k in range(1, classes + 1):
        count, labels = cv2.connectedComponents((label_map == k).astype(np.uint8), connectivity=8)
        regions += [np.argwhere(labels == i) for i in range(1, count)]
    found = []
    for i, own in enumerate(regions):
        others = np.concatenate([each for j, each in enumerate(regions) if j != i])
        apart = np.maximum(abs(own[:, None] - others[None]) - 1, 0)
        found.append(float(np.hypot(apart[..., 0], apart[..., 1]).min()))
    return found


@pytest.mark.parametrize("few", [0, under_test.FEW], ids=["swept", "as chosen"])
@pytest.mark.parametrize("seed", range(12))
def test_gaps_are_those_of_the_nearest_pixels(few: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "FEW", few)
    random = np.random.default_rng(seed)
    background = [0] * int(random.integers(5, 120))
    label_map = random.choice([*background, 1, 2], random.integers(8, 60, 2)).astype(np.uint8)
    label_map[:3, :2], label_map[5:, 4] = 1, 2  # two at least
    found = gaps([find_runs(label_map == k) for k in (1, 2)])
    assert sorted(found) == pytest.approx(sorted(by_every_pixel(label_map, 2)))


@pytest.mark.parametrize("count", [under_test.FEW, under_test.FEW + 1])
def test_it_ends_when_told(count: int) -> None:
    """Far from each other, so that there is much to look through."""
    mask = np.zeros((50 * count, 4), bool)
    mask[::50, 0] = True
    runs = [find_runs(mask)]
    assert set(gaps(runs, ([None] * 120).pop)) == {49}
    with pytest.raises(IndexError, match="pop from empty list"):
        gaps(runs, ([None] * 40).pop)


def test_a_lone_defect_and_none_have_no_neighbour() -> None:
    assert gaps([]).tolist() == []
    assert gaps([find_runs(np.ones((3, 3), bool))]).tolist() == [np.inf]

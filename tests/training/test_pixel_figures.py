"""Pixel figures from counts by level, against the definitions computed directly."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import average_precision_score

from training.evaluation.pixels import PixelLevels
from training.statistics import reliability

Maps = list[tuple[NDArray[np.uint8], NDArray[np.uint16]]]


def _pictures() -> Maps:
    """Good and defective images of two classes; defects are more probable, but not everywhere."""
    rng = np.random.default_rng(3)
    pictures = []
    for n in range(6):
        bits = np.zeros((40, 30), np.uint16)
        if n % 3:
            bits[3:9, 4 : 6 + n] = 1
            bits[20 : 22 + n, 10:14] |= 2
            bits[9, 6 + n] = 1  # joined to the first at its corner only
        levels = rng.integers(0, 90, (2, 40, 30))
        levels[0][bits == 1] += rng.integers(0, 150, int((bits == 1).sum()))
        levels[1][bits == 2] += rng.integers(20, 160, int((bits == 2).sum()))
        pictures.append((levels.astype(np.uint8), bits))
    return pictures


def _counted(pictures: Maps) -> PixelLevels:
    levels = PixelLevels()
    for probability, bits in pictures:
        levels.add(probability, bits)
    return levels


def _slow_aupro(pictures: Maps, limit: float) -> float:
    """Threshold by threshold, region by region; the integral by a fine grid."""
    good = sum(int((bits == 0).sum()) for _, bits in pictures)
    rates, overlaps = [0.0], [0.0]
    for threshold in range(255, -1, -1):
        false, shares = 0, []
        for probability, bits in pictures:
            called = probability.max(axis=0) >= threshold
            false += int((called & (bits == 0)).sum())
            regions, number = ndimage.label(bits > 0, structure=np.ones((3, 3)))
            shares += [called[regions == k].mean() for k in range(1, number + 1)]
        rates.append(false / good)
        overlaps.append(float(np.mean(shares)))
    grid = np.linspace(0, limit, 200_001)
    return float(np.trapezoid(np.interp(grid, rates, overlaps), grid) / limit)


def test_average_precision_is_sklearns() -> None:
    pictures = _pictures()
    truth = np.concatenate([(bits > 0).ravel() for _, bits in pictures])
    level = np.concatenate([probability.max(axis=0).ravel() for probability, _ in pictures])
    expected = average_precision_score(truth, level)
    assert 0.2 < expected < 0.98
    assert _counted(pictures).average_precision() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_aupro_is_the_direct_computations(limit: float) -> None:
    pictures = _pictures()
    counted = _counted(pictures)
    assert counted.regions == 4 * 2
    assert counted.aupro(limit) == pytest.approx(_slow_aupro(pictures, limit), abs=1e-4)


def test_every_region_counts_alike_in_aupro() -> None:
    bits = np.zeros((20, 20), np.uint16)
    bits[0:10, 0:10] = 1  # found whole
    bits[15, 15] = 1  # missed
    probability = np.where((bits > 0) & (np.arange(20) < 12), 255, 0).astype(np.uint8)[None]
    # up to the limit the overlap rises from 1/2 on a line to 1 at a false-positive rate of 1
    assert _counted([(probability, bits)]).aupro() == pytest.approx(0.5 + 0.5 * 0.3 / 2)


def test_pixels_without_defects_have_no_curves() -> None:
    counted = _counted([(np.zeros((1, 8, 8), np.uint8), np.zeros((8, 8), np.uint16))])
    figures = counted.figures([(np.linspace(0, 1, 256, dtype=np.float32), counted)])
    assert (figures["average_precision"], figures["aupro"]["value"], figures["good_px"]) == (None, None, 64)
    assert figures["reliability"]["calibrated"]["ece"] == 0


def test_reliability_by_hand() -> None:
    # 10 cases at 0.92 of which 6 are positive, 30 at 0.1 and 60 at 0.14, which share a bin, of which 9 are
    found = reliability(np.array([0.92, 0.1, 0.14]), np.array([10.0, 30, 60]), np.array([6.0, 3, 6]))
    assert found is not None
    assert found["bins"] == [
        {"cases": 90, "mean_probability": 0.1267, "defective_share": 0.1},
        {"cases": 10, "mean_probability": 0.92, "defective_share": 0.6},
    ]
    assert found["ece"] == pytest.approx((abs(11.4 - 9) + abs(9.2 - 6)) / 100)
    assert reliability(np.array([1.0]), np.array([4.0]), np.array([4.0]))["ece"] == 0  # type: ignore[index]
    assert reliability(np.array([]), np.array([]), np.array([])) is None

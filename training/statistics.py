"""Exact binomial (Clopper-Pearson) bounds of a rate, trials needed to prove one, reliability diagrams."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

BINS = 10
Figures = dict[str, Any]  # figures by name, as in JSON files


def interval(events: int, trials: int, confidence: float) -> tuple[float, float]:
    """Exact binomial interval of a rate, by Clopper and Pearson (1934)."""
    tail = (1 - confidence) / 2
    low = float(betaincinv(events, trials - events + 1, tail)) if events else 0.0
    return low, upper_bound(events, trials, 1 - tail)


def upper_bound(events: int, trials: int, confidence: float) -> float:
    """Upper bound of a rate at a one-sided confidence, by Clopper and Pearson (1934)."""
    return float(betaincinv(events + 1, trials - events, confidence)) if events < trials else 1.0


def trials_needed(events: int, rate: float, confidence: float) -> int:
    """The smallest number of trials with `events` events that proves a true rate of at most `rate`.

    Without events, this is the rule of three: about 3 / rate at 95 %.
    """
    enough = events + 1
    while upper_bound(events, enough, confidence) > rate:
        enough *= 2
    too_few = events
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if upper_bound(events, middle, confidence) > rate:
            too_few = middle
        else:
            enough = middle
    return enough


def reliability(
    probability: NDArray[np.floating[Any]],
    cases: NDArray[np.floating[Any]],
    positives: NDArray[np.floating[Any]],
) -> Figures | None:
    """The reliability diagram in 10 bins of equal width, and the expected calibration error (ECE).

    For each probability, float [N], `cases` is the number of cases with it and `positives` the number of
    defective ones among them. None without cases. Source: Guo et al., On Calibration of Modern Neural
    Networks, 2017.
    """
    total = float(cases.sum())
    if not total:
        return None
    places = np.minimum((probability * BINS).astype(int), BINS - 1)
    weights = np.bincount(places, cases, BINS)
    expected = np.bincount(places, probability * cases, BINS)
    observed = np.bincount(places, positives, BINS)
    return {
        "ece": round(float(np.abs(expected - observed).sum()) / total, 4),
        "bins": [
            {
                "cases": int(weights[k]),
                "mean_probability": round(float(expected[k] / weights[k]), 4),
                "defective_share": round(float(observed[k] / weights[k]), 4),
            }
            for k in range(BINS)
            if weights[k]
        ],
    }

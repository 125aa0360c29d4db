"""Reliability: whether what is called probable with p happens in a share p of the cases."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 10


def reliability(
    probability: NDArray[np.floating[Any]],
    cases: NDArray[np.floating[Any]],
    positives: NDArray[np.floating[Any]],
) -> dict[str, Any] | None:
    """The reliability diagram in 10 bins of one width, and the expected calibration error (ECE).

    For each probability, float [N], `cases` says how many cases have it and `positives` how many of these are
    defective. None without any case. Source: Guo et al., On Calibration of Modern Neural Networks, 2017.
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

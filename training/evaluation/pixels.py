"""Pixel-level figures, exact and in constant memory, from counts of the 256 levels."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.sample import Bits, Pixels, counted, defects
from training.statistics import Figures, reliability

AUPRO_LIMIT = 0.3  # the false-positive rate up to which Bergmann et al. integrate
LEVELS = 256
Counts = NDArray[np.float64]


class PixelLevels:
    """Counts of pixels by any-defect level, the highest level over all classes, before any threshold."""

    def __init__(self) -> None:
        """Start with no image."""
        self.pictures = 0
        self.regions = 0
        self.defect: Counts = np.zeros(LEVELS)
        self.good: Counts = np.zeros(LEVELS)
        self._region_shares: Counts = np.zeros(LEVELS)  # of pixels per region; all regions weigh the same

    def add(self, probability: Pixels, bits: Bits) -> None:
        """Add one image: levels uint8 [K, H, W], class bits uint16 [H, W]."""
        levels, marked = probability.max(axis=0), defects(bits) & counted(bits)
        everywhere = _count(levels[counted(bits)])
        self.pictures += 1
        if not marked.any():
            self.good += everywhere
            return
        of_defects = _count(levels[marked])
        self.defect += of_defects
        self.good += everywhere - of_defects
        number, regions = cv2.connectedComponents(marked.view(np.uint8), connectivity=8)
        cells = (regions[marked] - 1) * LEVELS + levels[marked]
        by_region = np.bincount(cells, minlength=(number - 1) * LEVELS).reshape(-1, LEVELS)
        self.regions += number - 1
        self._region_shares += (by_region / by_region.sum(axis=1, keepdims=True)).sum(axis=0)

    def figures(self, calibrated: Sequence[tuple[NDArray[np.float32], "PixelLevels"]]) -> Figures:
        """Average precision, AUPRO and reliability; None if there is no defect pixel or no good pixel.

        `calibrated` has the same pixels, divided by their table of calibrated probabilities, float [256].
        """
        tables = np.concatenate([table for table, _ in calibrated]).astype(np.float64)
        cases = np.concatenate([part.defect + part.good for _, part in calibrated])
        defects = np.concatenate([part.defect for _, part in calibrated])
        both = bool(self.defect.any() and self.good.any())
        total = self.defect + self.good
        return {
            "pictures": self.pictures,
            "defect_px": int(self.defect.sum()),
            "good_px": int(self.good.sum()),
            "regions": self.regions,
            "average_precision": round(self.average_precision(), 4) if both else None,
            "aupro": {"value": round(self.aupro(), 4) if both else None, "limit": AUPRO_LIMIT},
            "reliability": {
                "as_the_graph_gives_it": reliability(np.arange(LEVELS) / 255, total, self.defect),
                "calibrated": reliability(tables, cases, defects),
            },
        }

    def average_precision(self) -> float:
        """The sum of precision times gain of recall over all 256 thresholds."""
        hits, called = _from_the_top(self.defect), _from_the_top(self.defect + self.good)
        precision = hits[1:] / np.maximum(called[1:], 1)
        return float((np.diff(hits) / hits[-1] * precision).sum())

    def pro_curve(self) -> tuple[Counts, Counts]:
        """False-positive rate of pixels and per-region overlap at falling thresholds, both float [257].

        The overlap is the mean over all regions of the share of found pixels.
        """
        return _from_the_top(self.good) / self.good.sum(), _from_the_top(self._region_shares) / self.regions

    def aupro(self, limit: float = AUPRO_LIMIT) -> float:
        """Area under the per-region-overlap curve up to a false-positive rate, divided by that rate.

        Regions are 8-connected. Source: Bergmann et al., The MVTec Anomaly Detection Dataset, 2021.
        """
        rate, overlap = self.pro_curve()
        k = int(
            np.searchsorted(rate, limit)
        )  # the first point at or beyond the limit; at 0 there is none yet
        share = (limit - rate[k - 1]) / (rate[k] - rate[k - 1])
        last = overlap[k - 1] + share * (overlap[k] - overlap[k - 1])
        return float(np.trapezoid(np.append(overlap[:k], last), np.append(rate[:k], limit)) / limit)


def _count(levels: Pixels) -> Counts:
    return np.bincount(levels.ravel(), minlength=LEVELS).astype(np.float64)


def _from_the_top(counts: Counts) -> Counts:
    """The number at or above each level, from the top: 0 to all, float [257]."""
    return np.concatenate(([0.0], np.cumsum(counts[::-1])))

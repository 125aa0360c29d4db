"""Fits the region model: which connected regions of the any-defect mask are defects."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from app.inspection.bundle.artifact import OperatingPoint
from app.inspection.bundle.region_model import REGION_FEATURES, RegionFeature, RegionModel
from app.inspection.measuring.defect_regions import Regions, form_regions
from app.inspection.measuring.mask import marks_of
from training.thresholds.predictions import Scored

FOLDS = 5
LEAST_EACH = 10  # least number of regions that are defects, and of those that are not, to fit a model
DEFECT_SHARE = 0.1  # least share of marked pixels of a region that counts as a defect

# The peak probability adds nothing to the mean logit: with both, the weights are large and of opposite sign.
FITTED: tuple[RegionFeature, ...] = ("mean_logit", "log_area", "contrast", "border_gap", "head_logit")

# Used if there are too few regions to fit to: a region is a defect if its peak probability is at least 0.5.
UNFITTED = RegionModel(weights={"peak_probability": 10.0}, bias=-5.0)

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RegionTable:
    """The regions of several images, one row each.

    `features` float [N, 6]; `image` int [N] is the index of the region's image, `group` that of its group;
    `defect` float [N] is 1 or 0, NaN if the image's defects are not marked. `images` is the number of images.
    """

    features: Floats
    image: NDArray[np.int64]
    group: NDArray[np.int64]
    defect: Floats
    images: int

    def highest(self, probability: Floats) -> Floats:
        """The highest probability of each image's regions, float [images]; 0 without a region."""
        found = np.zeros(self.images)
        np.maximum.at(found, self.image, probability)
        return found


def region_table(scored: Sequence[Scored], point: OperatingPoint) -> RegionTable:
    """Form the regions of all images at the pixel threshold and least area of an operating point."""
    groups = {name: place for place, name in enumerate(sorted({each.group for each in scored}))}
    rows = []
    for place, each in enumerate(scored):
        regions = form_regions(marks_of(each.probability, point), each.pixels, each.tiles, point)
        count = len(regions)
        places = np.full(count, place), np.full(count, groups[each.group])
        rows.append((regions.features, *places, _are_defects(each, regions)))
    features, image, group, defect = (np.concatenate(column) for column in zip(*rows, strict=True))
    return RegionTable(features, image, group, defect, len(scored))


def fit_region_model(table: RegionTable) -> RegionModel:
    """Return the model fitted on all labelled regions; `UNFITTED` if there are too few."""
    known = ~np.isnan(table.defect)
    if not _enough(table.defect[known]):
        return UNFITTED
    return _fitted(table, known)


def held_out_probability(table: RegionTable) -> Floats:
    """The probability of each region by a model that was fitted on other groups, float [N]."""
    known = ~np.isnan(table.defect)
    found = UNFITTED.probability(table.features)  # also for regions without a fitted model
    groups = len(np.unique(table.group))
    if not _enough(table.defect[known]) or groups < 2:
        return found
    kinds = np.nan_to_num(table.defect, nan=1.0)
    folds = StratifiedGroupKFold(min(FOLDS, groups), shuffle=True, random_state=0)
    for others, own in folds.split(table.features, kinds, table.group):
        chosen = np.zeros(len(known), np.bool_)
        chosen[others] = True
        if _enough(table.defect[known & chosen]):
            found[own] = _fitted(table, known & chosen).probability(table.features[own])
    return found


def _enough(defect: Floats) -> bool:
    return bool(min(np.count_nonzero(defect == kind) for kind in (0, 1)) >= LEAST_EACH)


def _fitted(table: RegionTable, rows: NDArray[np.bool_]) -> RegionModel:
    columns = [REGION_FEATURES.index(name) for name in FITTED]
    features, defect = table.features[rows][:, columns], table.defect[rows]
    middle, spread = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    # All images have equal weight; otherwise one with many specks would outweigh many with one defect each.
    image = table.image[rows]
    weight = 1 / np.bincount(image)[image]
    fit = LogisticRegression(C=1.0, max_iter=1000).fit((features - middle) / spread, defect, weight)
    weights = fit.coef_[0] / spread
    return RegionModel(
        weights={name: round(float(each), 6) for name, each in zip(FITTED, weights, strict=True)},
        bias=round(float(fit.intercept_[0] - weights @ middle), 6),
        regions=int(rows.sum()),
        groups=len(np.unique(table.group[rows])),
    )


def _are_defects(each: Scored, regions: Regions) -> Floats:
    """1 for regions with DEFECT_SHARE of their pixels marked, 0 for others, NaN if nothing is marked."""
    count = len(regions)
    if not each.defective:
        return np.zeros(count)
    bits = each.bits
    if bits is None or not bits.any():
        return np.full(count, np.nan)
    if not count:
        return np.zeros(0)
    runs = regions.runs
    marked = np.concatenate([np.zeros((len(bits), 1), np.int64), np.cumsum(bits > 0, axis=1)], axis=1)
    hits = marked[runs.row, runs.last + 1] - marked[runs.row, runs.first]
    return np.asarray(np.add.reduceat(hits, runs.start) >= DEFECT_SHARE * runs.areas(), np.float64)

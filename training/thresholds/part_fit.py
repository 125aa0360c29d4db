"""Fits the part model: the probability that a part is defective, from several images of one view."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from app.inspection.rules.part_model import PartModel, part_features
from training.config import OperatingPointConfig
from training.thresholds.risk import choose_row, trade_off

FOLDS = 5
LEAST_EACH = 10  # least number of defective parts, and of good parts, to fit a model
LEAST_IMAGES = 2

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PartTable:
    """Parts with several images, one row each: mean and maximum logit, float [N, 2], and the label."""

    names: tuple[str, ...]
    features: Floats
    defective: NDArray[np.bool_]

    @property
    def is_enough(self) -> bool:
        """Whether there are enough good and defective parts to fit a model."""
        return bool(min(self.defective.sum(), (~self.defective).sum()) >= LEAST_EACH)


def fit_part_model(
    image_probability: Sequence[float],
    groups: Sequence[str],
    defective: Sequence[bool],
    config: OperatingPointConfig,
) -> PartModel | None:
    """Return the part model with its threshold, fitted to held-out image probabilities.

    A group is a part, and defective if any of its images is. Groups of one image do not count. The threshold
    is chosen like the image threshold, on probabilities from models fitted on other parts. Returns None if
    there are too few good or defective parts, or if no threshold separates them.
    """
    table = part_table(image_probability, groups, defective)
    model = _fitted(table, np.ones(len(table.names), np.bool_)) if table.is_enough else None
    if model is None:
        return None
    levels = held_out_part_probability(table)
    risks = trade_off(levels.tolist(), table.defective.tolist(), table.names, config.confidence)
    if risks is None:
        return None
    row, _ = choose_row(risks, config)
    return model.model_copy(update={"part_threshold": row.image_threshold})


def part_table(
    image_probability: Sequence[float], groups: Sequence[str], defective: Sequence[bool]
) -> PartTable:
    """Collect the groups of at least two images, sorted by name."""
    images: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for level, name, kind in zip(image_probability, groups, defective, strict=True):
        images[name].append((level, kind))
    parts = {name: images[name] for name in sorted(images) if len(images[name]) >= LEAST_IMAGES}
    features = [part_features([level for level, _ in part]) for part in parts.values()]
    return PartTable(
        names=tuple(parts),
        features=np.array(features, np.float64).reshape(-1, 2),
        defective=np.array([any(kind for _, kind in part) for part in parts.values()], np.bool_),
    )


def held_out_part_probability(table: PartTable) -> Floats:
    """The probability of each part by a model that was fitted on other parts, float [N]."""
    found = np.zeros(len(table.names))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    for others, own in folds.split(table.features, table.defective):
        chosen = np.zeros(len(table.names), np.bool_)
        chosen[others] = True
        model = _fitted(table, chosen)
        base = float(table.defective[others].mean())
        found[own] = base if model is None else _probability(model, table.features[own])
    return found


def _probability(model: PartModel, features: Floats) -> Floats:
    logits = features @ np.array([model.mean_logit, model.max_logit]) + model.bias
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -50, 50))))


def _fitted(table: PartTable, rows: NDArray[np.bool_]) -> PartModel | None:
    """The model fitted on the parts `rows`; features with a negative weight are left out.

    The threshold is a placeholder. None if no weight is positive.
    """
    features, defective = table.features[rows], table.defective[rows]
    middle, spread = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    used = [0, 1]
    while used:
        scaled = (features - middle)[:, used] / spread[used]
        fit = LogisticRegression(C=1.0, max_iter=1000).fit(scaled, defective)
        weights = np.zeros(2)
        weights[used] = np.round(fit.coef_[0] / spread[used], 6)
        if (weights[used] > 0).all():
            return PartModel(
                mean_logit=float(weights[0]),
                max_logit=float(weights[1]),
                bias=round(float(fit.intercept_[0] - weights @ middle), 6),
                part_threshold=1.0,
                parts=len(defective),
                defective=int(defective.sum()),
            )
        used.remove(min(used, key=lambda each: weights[each]))
    return None

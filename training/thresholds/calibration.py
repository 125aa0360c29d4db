"""Probability calibration, chosen on the calibration split only: what makes a probability mean a frequency.

Of the image probability, of any defect and of each class, on the 256 levels that the graph tells apart, by
the simplest method that predicts held-out groups about as well as the best: none, a temperature (Guo et al.,
On Calibration of Modern Neural Networks, 2017), or isotonic regression (Zadrozny and Elkan, 2002).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.isotonic import IsotonicRegression

from app.inspection.bundle.calibration import Curve, ProbabilityCalibration
from training.data.sample import class_mask
from training.statistics import reliability
from training.thresholds.predictions import Scored

LEVELS = 256
TEMPERATURES = (0.1, 10.0)
FOLDS = 5
LEAST_GROUPS = 3  # with defects, and without; from fewer nothing can be held out
LEAST_GAIN = 0.01  # of the cross-entropy, for which a method may be chosen before a simpler one
LEAST_PROBABILITY = 1e-4  # in the cross-entropy, so that one missed pixel does not cost infinity

Counts = NDArray[np.float64]


@dataclass(frozen=True)
class LevelCounts:
    """The cases of one output (images or pixels), counted by group and level: float [groups, 256] each."""

    positive: Counts
    negative: Counts

    def only(self, kept: NDArray[np.bool_]) -> "LevelCounts":
        """Those of some groups, bool [groups]."""
        return LevelCounts(self.positive[kept], self.negative[kept])

    @property
    def enough(self) -> bool:
        """Whether groups with defects and groups with good cases are enough to hold some out."""
        return all((each.any(axis=1)).sum() >= LEAST_GROUPS for each in (self.positive, self.negative))


@dataclass(frozen=True)
class Calibrated:
    """The calibration for the bundle, and what there is to report of it; see `calibrate`."""

    calibration: ProbabilityCalibration
    report: dict[str, Any]


def calibrate(
    scored: Sequence[Scored], image_probability: Sequence[float], classes: Sequence[str]
) -> Calibrated:
    """Return the curve of each output, chosen by its cross-entropy on groups that were held out.

    A class that too few groups show takes the curve of all classes together, where that serves it better than
    none. The report has, for `image`,
    `any_defect` and each of `classes`: `method`; `cross_entropy`, nats a case on held-out groups, by method;
    and the reliability `before` and `after`, of held-out groups too, with the expected calibration error. No
    figure of it is one of the test split.
    """
    image, any_defect, by_class = count_levels(scored, image_probability, len(classes))
    pooled = LevelCounts(
        np.sum([each.positive for each in by_class], axis=0),
        np.sum([each.negative for each in by_class], axis=0),
    )
    chosen = {
        name: _choose(each) if each.enough else _choose(each, pooled)
        for name, each in zip(classes, by_class, strict=True)
    }
    image_curve, image_report = _choose(image)
    any_curve, any_report = _choose(any_defect)
    calibration = ProbabilityCalibration(
        any_defect=any_curve, classes=tuple(curve for curve, _ in chosen.values()), image=image_curve
    )
    reports = {name: report for name, (_, report) in chosen.items()}
    return Calibrated(calibration, {"image": image_report, "any_defect": any_report, "classes": reports})


def count_levels(
    scored: Sequence[Scored], image_probability: Sequence[float], classes: int
) -> tuple[LevelCounts, LevelCounts, tuple[LevelCounts, ...]]:
    """Count the levels of the image probability, of any defect and of each class.

    `image_probability` is that of each image. Images whose pixels are unlabelled count for it only. The
    any-defect level is the highest of the classes' levels.
    """
    places = {group: place for place, group in enumerate(sorted({each.group for each in scored}))}
    counts = np.zeros((2 + classes, 2, len(places), LEVELS))
    for each, of_image in zip(scored, image_probability, strict=True):
        place = places[each.group]
        counts[0, int(each.defective), place, round(of_image * 255)] += 1
        probability, bits = each.probability, each.bits
        if bits is None:
            continue
        keep = each.counted if each.label.ignores else np.True_
        outputs = [(probability.max(axis=0), bits > 0)]
        outputs += [(probability[k], class_mask(bits, k + 1)) for k in range(classes)]
        for output, (levels, marked) in enumerate(outputs, start=1):
            for kind in (False, True):
                counts[output, int(kind), place] += np.bincount(
                    levels[keep & (marked == kind)], minlength=LEVELS
                )
    image, any_defect, *by_class = (LevelCounts(positive, negative) for negative, positive in counts)
    return image, any_defect, tuple(by_class)


def _choose(counts: LevelCounts, pooled: LevelCounts | None = None) -> tuple[Curve, dict[str, Any]]:
    """The best curve and its report, fitted to `pooled` where given; none where groups are too few."""
    basis = pooled or counts
    if not basis.enough:
        return Curve(), {"method": "none", "cross_entropy": None} | _before_and_after([(counts, Curve())])
    whole = _folds(basis)
    held_out = {
        name: [(counts.only(whole == k), fit(basis.only(whole != k))) for k in range(whole.max() + 1)]
        for name, fit in METHODS.items()
    }
    costs = {name: _cross_entropy(folds) for name, folds in held_out.items()}
    method = _simplest(costs)
    report = {
        "method": method if pooled is None or method == "none" else f"{method}, of all classes",
        "cross_entropy": {name: float(f"{cost:.6g}") for name, cost in costs.items()},
    }
    return METHODS[method](basis), report | _before_and_after(held_out[method])


def _simplest(costs: Mapping[str, float]) -> str:
    """The first method, simplest first, that no later one beats by LEAST_GAIN."""
    return next(name for name, cost in costs.items() if min(costs.values()) >= cost * (1 - LEAST_GAIN))


def _folds(counts: LevelCounts) -> NDArray[np.int64]:
    """The fold of each group, int [groups]: those with most defects are dealt out first, one to each."""
    defects = counts.positive.sum(axis=1)
    folds = np.empty(len(defects), np.int64)
    folds[np.argsort(-defects, kind="stable")] = np.arange(len(defects)) % min(
        FOLDS, max(1, int((defects > 0).sum()))
    )
    return folds


def _temperature(counts: LevelCounts) -> Curve:
    def cost(log_temperature: float) -> float:
        return _cross_entropy([(counts, Curve(temperature=float(np.exp(log_temperature))))])

    low, high = np.log(TEMPERATURES)
    best = minimize_scalar(cost, bounds=(low, high), method="bounded").x
    return Curve(temperature=round(float(np.exp(best)), 6))


def _isotonic(counts: LevelCounts) -> Curve:
    """Frequencies that never fall; kept from 0 and 1 by what one more case could change (Laplace)."""
    positive, negative = counts.positive.sum(axis=0), counts.negative.sum(axis=0)
    cases = positive + negative
    seen = np.flatnonzero(cases)
    margin = 1 / (cases.sum() + 2)
    fitted = IsotonicRegression(y_min=margin, y_max=1 - margin).fit(
        seen, positive[seen] / cases[seen], sample_weight=cases[seen]
    )
    return Curve(
        levels=tuple(int(level) for level in fitted.X_thresholds_),
        probabilities=tuple(round(float(value), 7) for value in fitted.y_thresholds_),
    )


METHODS: dict[str, Callable[[LevelCounts], Curve]] = {
    "none": lambda _: Curve(),
    "temperature": _temperature,
    "isotonic": _isotonic,
}


def _cross_entropy(folds: Sequence[tuple[LevelCounts, Curve]]) -> float:
    """Nats a case, of counts under the curves that they are judged by."""
    cost = cases = 0.0
    for counts, curve in folds:
        p = np.clip(curve.table().astype(np.float64), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        cost -= float((counts.positive * np.log(p) + counts.negative * np.log1p(-p)).sum())
        cases += float((counts.positive + counts.negative).sum())
    return cost / cases


def _before_and_after(folds: Sequence[tuple[LevelCounts, Curve]]) -> dict[str, Any]:
    positives = np.concatenate([counts.positive.sum(axis=0) for counts, _ in folds])
    cases = positives + np.concatenate([counts.negative.sum(axis=0) for counts, _ in folds])
    tables = {
        "before": np.tile(np.arange(LEVELS) / 255, len(folds)),
        "after": np.concatenate([curve.table() for _, curve in folds]).astype(np.float64),
    }
    return {name: reliability(table, cases, positives) for name, table in tables.items()}

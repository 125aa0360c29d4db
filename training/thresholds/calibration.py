"""Probability calibration, fitted on the calibration split only: corrects probabilities to match frequencies.

Three outputs are calibrated: the image probability, the any-defect probability and that of each class. A
curve maps the 256 levels of the graph's output. The methods, simplest first: none, a temperature (Guo et
al., On Calibration of Modern Neural Networks, 2017), isotonic regression (Zadrozny and Elkan, 2002). The
simplest method that predicts held-out groups about as well as the best one is used.
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
LEAST_GROUPS = 3  # with defects, and without; fewer cannot be divided into folds
LEAST_GAIN = 0.01  # relative gain in cross-entropy from which a method replaces a simpler one
LEAST_PROBABILITY = 1e-4  # clips the cross-entropy, so that one missed pixel does not make it infinite

Counts = NDArray[np.float64]


@dataclass(frozen=True)
class LevelCounts:
    """Counts of images or pixels of one output, by group and level: float [groups, 256] each."""

    positive: Counts
    negative: Counts

    def only(self, kept: NDArray[np.bool_]) -> "LevelCounts":
        """Counts of the groups that `kept`, bool [groups], selects."""
        return LevelCounts(self.positive[kept], self.negative[kept])

    @property
    def enough(self) -> bool:
        """Whether there are LEAST_GROUPS groups with positive and with negative counts."""
        return all((each.any(axis=1)).sum() >= LEAST_GROUPS for each in (self.positive, self.negative))


@dataclass(frozen=True)
class Calibrated:
    """The calibration for the bundle, and its report; see `calibrate`."""

    calibration: ProbabilityCalibration
    report: dict[str, Any]


def calibrate(
    scored: Sequence[Scored], image_probability: Sequence[float], classes: Sequence[str]
) -> Calibrated:
    """Return the curve of each output, chosen by its cross-entropy on held-out groups.

    A class shown by too few groups gets the curve of all classes together, if that is better than none. The
    report has an entry for `image`, `any_defect` and each of `classes`: the `method`; the `cross_entropy` of
    each method in nats per image or pixel; and the reliability `before` and `after` with the expected
    calibration error. All figures are of held-out groups of the calibration split, none of the test split.
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

    `image_probability` has one value per image. Images without pixel labels count only towards that output.
    The any-defect level is the highest level over all classes.
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
    """The best curve and its report, fitted to `pooled` if given; no correction if groups are too few."""
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
    """The simplest method that no other method beats by LEAST_GAIN."""
    return next(name for name, cost in costs.items() if min(costs.values()) >= cost * (1 - LEAST_GAIN))


def _folds(counts: LevelCounts) -> NDArray[np.int64]:
    """The fold of each group, int [groups]: dealt out in turn, groups with most defects first."""
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
    """Monotonic frequencies, kept away from 0 and 1 by 1 / (cases + 2), Laplace's rule."""
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
    """Mean cross-entropy in nats, of each fold's counts under its curve."""
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

"""The figures of every slice of the images, and the worst slices.

The images of one part are not independent. The interval of a rate is that of Clopper and Pearson with groups,
not images, as trials; it is exact if every image is its own group (Korn and Graubard, Confidence intervals
for proportions with small expected number of positive counts estimated from survey data, 1998; the images of
a group are assumed fully correlated). A mean Dice has a Student t interval with the error clustered by group
(Liang and Zeger, Longitudinal data analysis using generalized linear models, 1986).

The worst slice by escape or overkill rate is the one with the highest lower bound, by Dice the one with the
lowest upper bound. So a slice of few images is not the worst by chance. A slice is compared if the figure
counts at least MIN_IMAGES images of MIN_GROUPS groups in it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.stats import beta
from scipy.stats import t as student

from training.evaluation.compared import Compared
from training.evaluation.figures import size_name
from training.statistics import Figures

MIN_IMAGES = 10
MIN_GROUPS = 3
MOST_VALUES = 4  # a number with more distinct values is divided at its quartiles
Slices = dict[str, list[Compared]]


def slice_figures(compared: Sequence[Compared], confidence: float) -> Figures:
    """The figures of every slice as `table`, and the worst slices by escape rate, overkill rate and Dice.

    `worst` is None for a figure if no slice has enough images, or if no slice is certainly worse than
    perfect. `differs` is true if the slice's interval does not contain the figure of all images.
    """
    table = [
        {"by": by, "slice": name, "pictures": len(rows)} | _figures(rows, confidence)
        for by, slices in _slicings(compared)
        for name, rows in slices.items()
    ]
    overall = _figures(compared, confidence)
    return {
        "table": table,
        "worst": {
            "escape_rate": _worst("escape_rate", table, overall, lambda low, high: low),
            "overkill_rate": _worst("overkill_rate", table, overall, lambda low, high: low),
            "dice": _worst("dice", table, overall, lambda low, high: 1 - high),
        },
        "rule": {"min_pictures": MIN_IMAGES, "min_groups": MIN_GROUPS},
    }


def _slicings(compared: Sequence[Compared]) -> Iterator[tuple[str, Slices]]:
    """Every way to divide the images into at least two slices."""
    ways = {
        "class": _by_class(compared),
        "defect size": _by_name(
            [each for each in compared if each.defect_px], lambda e: size_name(e.defect_px)
        ),
        "source": _by_name(compared, lambda each: each.source),
        "brightness": _by_number(compared, lambda each: each.brightness, "grey levels"),
        "sharpness": _by_number(compared, lambda each: each.sharpness, "(variance of Laplacian)"),
        "image size": _by_number(compared, lambda each: each.height * each.width, "px"),
    }
    for by, slices in ways.items():
        if len(slices) > 1:
            yield by, slices


def _by_class(compared: Sequence[Compared]) -> Slices:
    """Defective images by class; an image with several classes is in each of their slices."""
    slices: Slices = defaultdict(list)
    for each in compared:
        for name in each.picture_class.split(",") if each.defective else ():
            slices[name.strip()].append(each)
    return dict(sorted(slices.items()))


def _by_name(compared: Sequence[Compared], name: Callable[[Compared], str]) -> Slices:
    slices: Slices = defaultdict(list)
    for each in sorted(compared, key=lambda each: each.defect_px):
        slices[name(each)].append(each)
    return dict(slices)


def _by_number(compared: Sequence[Compared], number: Callable[[Compared], float], unit: str) -> Slices:
    """One slice for each value if there are few values, else one for each quarter of the images."""
    values = np.array([number(each) for each in compared])
    starts = np.unique(values)
    if len(starts) > MOST_VALUES:
        starts = np.unique(np.quantile(values, (0, 0.25, 0.5, 0.75), method="closest_observation"))
    places = np.searchsorted(starts, values, side="right") - 1
    slices: Slices = {}
    for k in range(len(starts)):
        inside = values[places == k]
        low, high = f"{inside.min():g}", f"{inside.max():g}"
        name = f"{low} {unit}" if low == high else f"{low} to {high} {unit}"
        slices[name] = [each for each, place in zip(compared, places, strict=True) if place == k]
    return slices


def _figures(rows: Sequence[Compared], confidence: float) -> Figures:
    marked = [(each.group, each.dice) for each in rows if each.dice is not None]
    return {
        "escape_rate": _rate([(e.group, not e.called_defective) for e in rows if e.defective], confidence),
        "overkill_rate": _rate([(e.group, e.called_defective) for e in rows if not e.defective], confidence),
        "dice": _mean(marked, confidence),
    }


def _rate(cases: Sequence[tuple[str, bool]], confidence: float) -> Figures | None:
    """A rate with an interval that counts groups as trials; None without cases."""
    if not cases:
        return None
    groups, share = len({group for group, _ in cases}), float(np.mean([wrong for _, wrong in cases]))
    hits, misses, tail = share * groups, (1 - share) * groups, (1 - confidence) / 2
    low = float(beta.ppf(tail, hits, misses + 1)) if share > 0 else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, misses)) if share < 1 else 1.0
    return _entry(share, (low, high), len(cases), groups)


def _mean(cases: Sequence[tuple[str, float]], confidence: float) -> Figures | None:
    """A mean with an interval clustered by group; no interval with one group; None without cases."""
    if not cases:
        return None
    value = float(np.mean([each for _, each in cases]))
    residuals: dict[str, float] = defaultdict(float)
    for group, each in cases:
        residuals[group] += each - value
    groups = len(residuals)
    if groups < 2:
        return _entry(value, None, len(cases), groups)
    error = np.sqrt(groups / (groups - 1) * np.sum(np.square(list(residuals.values())))) / len(cases)
    reach = float(student.ppf((1 + confidence) / 2, groups - 1) * error)
    return _entry(value, (max(0.0, value - reach), min(1.0, value + reach)), len(cases), groups)


def _entry(value: float, interval: tuple[float, float] | None, pictures: int, groups: int) -> Figures:
    rounded = None if interval is None else [round(each, 4) for each in interval]
    return {"value": round(value, 4), "interval": rounded, "pictures": pictures, "groups": groups}


def _worst(
    figure: str, table: Sequence[Figures], overall: Figures, badness: Callable[[float, float], float]
) -> Figures | None:
    """The worst slice by one figure; `badness` is computed from the interval and 0 at best."""
    enough = [
        row
        for row in table
        if row[figure] and row[figure]["pictures"] >= MIN_IMAGES and row[figure]["groups"] >= MIN_GROUPS
    ]
    worst = max(enough, key=lambda row: badness(*row[figure]["interval"]), default=None)
    if worst is None or not badness(*worst[figure]["interval"]):
        return None
    low, high = worst[figure]["interval"]
    everywhere = overall[figure]["value"]
    return {
        "by": worst["by"],
        "slice": worst["slice"],
        **worst[figure],
        "all_pictures": everywhere,
        "differs": not low <= everywhere <= high,
        "compared": len(enough),
    }

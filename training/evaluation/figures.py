"""The figures of evaluation.json from images compared with their labels, and their intervals."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from training.evaluation.compared import Compared, Overlap
from training.evaluation.estimated_dice import estimate_figures
from training.statistics import Figures, interval

# Bins of the marked defect pixels of an image, upper bound excluded.
SIZE_BINS_PX = ((1, 100), (100, 1_000), (1_000, 10_000), (10_000, 10**9))
BOOTSTRAP_DRAWS = 2000
RATES = ("accuracy", "precision", "recall", "escape_rate", "overkill_rate")


def summarise(compared: Sequence[Compared], confidence: float) -> Figures:
    """Return the figures of evaluation.json for one set of images.

    Dice is that of the label map that the service returns, so 0 for an empty mask of a defective image.
    `pooled` is the Dice of all pixels of all images taken as one, good images included.
    """
    defective = [each for each in compared if each.defective]
    good = [each for each in compared if not each.defective]
    return {
        "pictures": len(compared),
        "defective": len(defective),
        "good": len(good),
        "groups": len({each.group for each in compared}),
        **image_rates(compared, confidence),
        "auroc": _ranking(compared, roc_auc_score),
        "average_precision": _ranking(compared, average_precision_score),
        "verdicts": {kind: _verdicts(rows) for kind, rows in (("good", good), ("defective", defective))},
        "dice": _dice_figures(compared),
        "estimated_dice": estimate_figures(compared, confidence),
        "by_group": _by_group(compared, confidence),
    }


def fold_figures(test: Figures) -> dict[str, float | None]:
    """The figures that are averaged over folds; None for one that could not be measured."""
    rates = {name: None if test[name] is None else test[name]["value"] for name in RATES}
    return rates | {"auroc": test["auroc"], "dice": test["dice"]["per_defective_picture"]}


def summary_text(test: Figures, confidence: float) -> str:
    """The main figures as text: number of images, each rate with its interval, AUROC, Dice."""
    rows = [
        f"{test['pictures']} images inspected: {test['good']} good, {test['defective']} defective, of "
        f"{test['groups']} groups"
    ]
    for name in RATES:
        if (found := test[name]) is not None:
            low, high = found["interval"]
            text = f"{name.replace('_', ' ')} {found['value']:.3f} [{low:.3f}, {high:.3f}]"
            rows.append(f"{text} ({found['count']} of {found['of']})")
    for name, value in (("AUROC", test["auroc"]), ("Dice", test["dice"]["per_defective_picture"])):
        rows += [] if value is None else [f"{name} {value:.3f}"]
    return "\n".join([*rows, f"(intervals of {confidence:.0%})"])


def image_rates(compared: Sequence[Compared], confidence: float) -> dict[str, Figures | None]:
    """The image-level rates with their exact intervals; None for a rate without images."""
    return {name: rate(*counts, confidence) for name, counts in _counts(compared).items()}


def pooled_dice(overlaps: Iterable[Overlap]) -> float | None:
    """Dice of all pixels taken as one image; None if nothing is marked or found in any."""
    rows = np.array([(each.common, each.marked + each.called) for each in overlaps], np.int64).reshape(-1, 2)
    common, total = rows.sum(axis=0)
    return round(float(2 * common / total), 4) if total else None


def mean(values: Sequence[float | None]) -> float | None:
    """The mean to 4 decimals; None without values."""
    return round(float(np.mean(np.array(values, float))), 4) if values else None


def size_name(defect_px: int) -> str:
    """The name of the size bin of an image with `defect_px` marked pixels, at least 1."""
    low, high = next(pair for pair in SIZE_BINS_PX if pair[0] <= defect_px < pair[1])
    return f"{low}-{high - 1} px" if high < SIZE_BINS_PX[-1][1] else f"{low} px and more"


def shares(hits: Any, escapes: Any, alarms: Any, passes: Any) -> dict[str, tuple[Any, Any]]:
    """Each rate as (part, whole), from counts or arrays of counts."""
    return {
        "accuracy": (hits + passes, hits + escapes + alarms + passes),
        "precision": (hits, hits + alarms),
        "recall": (hits, hits + escapes),
        "escape_rate": (escapes, hits + escapes),
        "overkill_rate": (alarms, alarms + passes),
    }


def _counts(compared: Sequence[Compared]) -> dict[str, tuple[int, int]]:
    """Each image-level rate as (part, whole) of images."""
    pairs = Counter((each.defective, each.called_defective) for each in compared)
    return shares(pairs[True, True], pairs[True, False], pairs[False, True], pairs[False, False])


def _by_group(compared: Sequence[Compared], confidence: float) -> Figures:
    """Bootstrap intervals over whole groups, because images of one part are not independent."""
    groups: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(6))
    for each in compared:
        sums = groups[each.group]  # hits, escapes, alarms, passes; sum and number of Dice
        sums[2 * (not each.defective) + (not each.called_defective)] += 1
        if each.dice is not None:
            sums[4:] += each.dice, 1
    return {
        "defective_groups": len({each.group for each in compared if each.defective}),
        "good_groups": len({each.group for each in compared if not each.defective}),
        "intervals": _bootstrap(np.array(list(groups.values())), confidence),
    }


def _bootstrap(sums: NDArray[np.float64], confidence: float) -> dict[str, list[float] | None]:
    """Percentile intervals of every rate and of Dice, from sums by group, float [groups, 6]."""
    rng = np.random.default_rng(0)
    draws = np.array(
        [sums[rng.integers(0, len(sums), len(sums))].sum(axis=0) for _ in range(BOOTSTRAP_DRAWS)]
    )
    tails = [100 * (1 - confidence) / 2, 100 * (1 + confidence) / 2]
    intervals: dict[str, list[float] | None] = {}
    for name, (part, whole) in (shares(*draws.T[:4]) | {"dice": (draws[:, 4], draws[:, 5])}).items():
        values = part[whole > 0] / whole[whole > 0]
        intervals[name] = np.percentile(values, tails).round(4).tolist() if len(values) else None
    return intervals


def rate(count: int, total: int, confidence: float) -> Figures | None:
    """A rate with its exact interval; None if `total` is 0."""
    if total == 0:
        return None
    low, high = interval(count, total, confidence)
    return {
        "value": round(count / total, 4),
        "interval": [round(low, 4), round(high, 4)],
        "count": count,
        "of": total,
    }


def _ranking(compared: Sequence[Compared], measure: Callable[..., float]) -> float | None:
    """A ranking figure of the image probability; None if all images are good or all defective."""
    defective = [each.defective for each in compared]
    if len(set(defective)) < 2:
        return None
    return round(float(measure(defective, [each.image_probability for each in compared])), 4)


def _verdicts(rows: Sequence[Compared]) -> dict[str, int]:
    return {verdict: sum(each.verdict == verdict for each in rows) for verdict in ("pass", "fail", "review")}


def _dice_figures(compared: Sequence[Compared]) -> Figures:
    marked = [each for each in compared if each.dice is not None]
    sizes: dict[str, list[Compared]] = {size_name(low): [] for low, _ in SIZE_BINS_PX}
    for each in marked:
        sizes[size_name(each.defect_px)].append(each)
    return {
        "per_defective_picture": mean([each.dice for each in marked]),
        "pictures": len(marked),
        "pooled": pooled_dice(each.overlap for each in compared if each.overlap is not None),
        "per_class": {
            name: _class_figures(name, compared)
            for name in sorted({name for each in marked for name in each.class_dice})
        },
        "by_defect_size": {
            name: {"pictures": len(rows), "any_defect": mean([each.dice for each in rows])}
            for name, rows in sizes.items()
        },
    }


def _class_figures(name: str, compared: Sequence[Compared]) -> Figures:
    showing = [each for each in compared if name in each.class_dice]
    return {
        "pictures": len(showing),
        "any_defect": mean([each.dice for each in showing]),
        "of_its_class": mean([each.class_dice[name] for each in showing]),
        "pooled": pooled_dice(each.class_overlap[name] for each in compared if name in each.class_overlap),
    }

"""Evaluation: a bundle, run through the inspection core, held against labels it has never seen."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from app.inspection.inspector import Inspector
from app.inspection.mask_metrics import dice
from app.inspection.results import Verdict
from training.datasets.sample import Sample, named
from training.operating_point import interval

# Marked defect pixels of a picture, upper bound excluded: from a pin hole to a region.
SIZE_BINS_PX = ((1, 100), (100, 1_000), (1_000, 10_000), (10_000, 10**9))
BOOTSTRAP_DRAWS = 2000


@dataclass(frozen=True)
class Judged:
    """One labelled picture and what the bundle answered; Dice is None for good and for unmarked pictures."""

    name: str
    group: str
    picture_class: str
    defective: bool
    verdict: Verdict
    image_probability: float
    dice: float | None
    class_dice: float | None
    defect_px: int
    estimated_dice: float | None = None

    @property
    def called_defective(self) -> bool:
        """Whether the verdict is not `pass`: `review` stops a part as `fail` does."""
        return self.verdict != "pass"


def judge_samples(inspector: Inspector, samples: Iterable[Sample]) -> list[Judged]:
    """Inspect samples from their own bytes, as the service does; DatasetError names one that is refused."""
    return [_judge(inspector, sample) for sample in samples]


def _judge(inspector: Inspector, sample: Sample) -> Judged:
    """Inspect one picture with the bundle's default recipe."""
    with named(sample.name, sample.image):
        inspection = inspector.inspect(sample.image.read())
    label_map = sample.label_map(inspection.label_map.shape)
    overlap = class_overlap = None
    defect_px = 0 if label_map is None else int((label_map > 0).sum())
    if label_map is not None and defect_px:
        overlap = dice(inspection.label_map > 0, label_map > 0)
        number = int(label_map.max())
        class_overlap = dice(inspection.label_map == number, label_map == number)
    return Judged(
        sample.name,
        sample.group,
        sample.picture_class,
        sample.defective,
        inspection.verdict,
        inspection.image_probability,
        overlap,
        class_overlap,
        defect_px,
        inspection.estimated_dice.any_defect,
    )


def summarise(judged: Sequence[Judged], confidence: float) -> dict[str, Any]:
    """Return the figures of evaluation.json for one set of judged pictures.

    Dice is that of the label map the service returns, 0 where a defective picture was passed.
    """
    defective = [each for each in judged if each.defective]
    good = [each for each in judged if not each.defective]
    return {
        "pictures": len(judged),
        "defective": len(defective),
        "good": len(good),
        "groups": len({each.group for each in judged}),
        **{name: _rate(*counts, confidence) for name, counts in _counts(judged).items()},
        "auroc": _auroc(judged),
        "verdicts": {kind: _verdicts(rows) for kind, rows in (("good", good), ("defective", defective))},
        "dice": _dice_figures(defective),
        "estimated_dice": _estimate_figures(defective),
        "by_group": _by_group(judged, confidence),
    }


def _counts(judged: Sequence[Judged]) -> dict[str, tuple[int, int]]:
    """Of each picture-level rate, how many pictures it counts, of how many."""
    pairs = Counter((each.defective, each.called_defective) for each in judged)
    hits, escapes = pairs[True, True], pairs[True, False]
    alarms, passes = pairs[False, True], pairs[False, False]
    return {
        "accuracy": (hits + passes, len(judged)),
        "precision": (hits, hits + alarms),
        "recall": (hits, hits + escapes),
        "escape_rate": (escapes, hits + escapes),
        "overkill_rate": (alarms, alarms + passes),
    }


def _by_group(judged: Sequence[Judged], confidence: float) -> dict[str, Any]:
    """Bootstrap intervals over whole groups, for pictures of one part are not independent."""
    groups: dict[str, list[Judged]] = defaultdict(list)
    for each in judged:
        groups[each.group].append(each)
    rng = np.random.default_rng(0)
    members = list(groups.values())
    draws = [
        _means([each for chosen in rng.integers(0, len(members), len(members)) for each in members[chosen]])
        for _ in range(BOOTSTRAP_DRAWS)
    ]
    tails = [100 * (1 - confidence) / 2, 100 * (1 + confidence) / 2]
    intervals = {}
    for name in draws[0]:
        values = [value for draw in draws if (value := draw[name]) is not None]
        intervals[name] = [round(float(v), 4) for v in np.percentile(values, tails)] if values else None
    parts = {kind: len({each.group for each in judged if each.defective is kind}) for kind in (True, False)}
    return {"defective_groups": parts[True], "good_groups": parts[False], "intervals": intervals}


def _means(judged: Sequence[Judged]) -> dict[str, float | None]:
    rates = {name: count / total if total else None for name, (count, total) in _counts(judged).items()}
    return rates | {"dice": _mean([each.dice for each in judged if each.dice is not None])}


def _estimate_figures(defective: Sequence[Judged]) -> dict[str, Any]:
    """How far the estimated Dice is from the measured one, where both exist."""
    errors = [
        each.estimated_dice - each.dice
        for each in defective
        if each.estimated_dice is not None and each.dice is not None
    ]
    return {
        "pictures": len(errors),
        "mean_error": _mean(errors),
        "mean_absolute_error": _mean([abs(error) for error in errors]),
    }


def _rate(count: int, total: int, confidence: float) -> dict[str, Any] | None:
    """A rate with its exact interval; None where there is nothing to count."""
    if total == 0:
        return None
    low, high = interval(count, total, confidence)
    return {
        "value": round(count / total, 4),
        "interval": [round(low, 4), round(high, 4)],
        "count": count,
        "of": total,
    }


def _auroc(judged: Sequence[Judged]) -> float | None:
    defective = [each.defective for each in judged]
    if len(set(defective)) < 2:
        return None
    return round(float(roc_auc_score(defective, [each.image_probability for each in judged])), 4)


def _verdicts(rows: Sequence[Judged]) -> dict[str, int]:
    return {verdict: sum(each.verdict == verdict for each in rows) for verdict in ("pass", "fail", "review")}


def _dice_figures(defective: Sequence[Judged]) -> dict[str, Any]:
    marked = [each for each in defective if each.dice is not None]
    classes = sorted({each.picture_class for each in marked})
    sizes = {
        f"{low}-{high - 1} px" if high < SIZE_BINS_PX[-1][1] else f"{low} px and more": [
            each for each in marked if low <= each.defect_px < high
        ]
        for low, high in SIZE_BINS_PX
    }
    return {
        "per_defective_picture": _mean([each.dice for each in marked]),
        "pictures": len(marked),
        "per_class": {
            name: {
                "pictures": sum(each.picture_class == name for each in marked),
                "any_defect": _mean([each.dice for each in marked if each.picture_class == name]),
                "of_its_class": _mean([each.class_dice for each in marked if each.picture_class == name]),
            }
            for name in classes
        },
        "by_defect_size": {
            name: {"pictures": len(rows), "any_defect": _mean([each.dice for each in rows])}
            for name, rows in sizes.items()
        },
    }


def _mean(values: Sequence[float | None]) -> float | None:
    return round(float(np.mean(np.array(values, float))), 4) if values else None

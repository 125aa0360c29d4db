"""Measures the benefit of transplants: few real defects with and without them, and all real defects."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from training.config import ConfigError
from training.data.sample import Dataset, DatasetError, Pixels, Sample
from training.data.splits import split_samples
from training.transplant.donors import Marked
from training.transplant.plausibility import Embed, Features
from training.transplant.transplant import TransplantSettings, transplant

ARMS = ("few real", "few real + generated", "few real + filtered", "all real")


@dataclass(frozen=True)
class Study:
    """The few real defects are a `share` of the defective training groups; `count` images are generated."""

    share: float = 0.25
    count: int = 120
    folds: int = 5
    seed: int = 1


@dataclass(frozen=True)
class _Row:
    sample: Sample
    pixels: Pixels
    features: Features


def measure_transplants(dataset: Dataset, study: Study, whole: Embed, crop: Embed) -> dict[str, Any]:
    """Return the image-level AUROC of each arm per fold, its mean, and the gain over few real defects.

    The classifier is a support vector machine on frozen features of whole images (`whole`). The folds are by
    group, so that no test part was trained on. All arms have the same good images and the same test images.
    Gains are paired by fold. `crop` computes the features for the filter. Raises DatasetError if there are
    too few groups, ConfigError if a value of the study is out of range.
    """
    if not 0 < study.share < 1 or study.folds < 2 or study.count < 1:
        raise ConfigError("a study needs a share between 0 and 1, at least 2 folds and 1 generated image")
    pixels = [sample.pixels() for sample in dataset.samples]
    rows = [_Row(*row) for row in zip(dataset.samples, pixels, whole(pixels), strict=True)]
    folds = [_fold(rows, study, number, whole, crop) for number in range(study.folds)]
    figures = {arm: np.array([fold["auroc"][arm] for fold in folds]) for arm in ARMS}
    return {
        "study": vars(study),
        "pictures": len(rows),
        "auroc": {arm: round(float(values.mean()), 4) for arm, values in figures.items()},
        "gain_over_few_real": {
            arm: [round(float(value), 4) for value in (values - figures[ARMS[0]])]
            for arm, values in figures.items()
            if arm != ARMS[0]
        },
        "folds": folds,
    }


def _fold(rows: Sequence[_Row], study: Study, number: int, whole: Embed, crop: Embed) -> dict[str, Any]:
    train, test = _divided(
        rows, {str(n): 1 / study.folds for n in range(study.folds)}, str(number), study.seed
    )
    good = [row for row in train if not row.sample.defective]
    defective = [row for row in train if row.sample.defective]
    _, few = _divided(defective, {"few": study.share, "rest": 1 - study.share}, "few", study.seed)
    if not (good and few and {row.sample.defective for row in test} == {True, False}):
        raise DatasetError(
            "the study needs good and defective groups in every fold; lower the number of folds"
        )
    made = [
        transplant(
            [row.pixels for row in good], _marked(few), study.count, study.seed + number, settings, crop
        )
        for settings in (TransplantSettings(quantile=None), TransplantSettings())
    ]
    generated = [_features(whole, each.images) for each in made]
    few_real, all_real = (np.stack([row.features for row in part]) for part in (few, defective))
    positives = [few_real, *(np.concatenate([few_real, each]) for each in generated), all_real]
    figures = {
        "few": {"pictures": len(few), "groups": len({row.sample.group for row in few})},
        "all": {"pictures": len(defective), "groups": len({row.sample.group for row in defective})},
        "generated": [each.summary() for each in made],
        "auroc": dict(zip(ARMS, (_auroc(good, positive, test) for positive in positives), strict=True)),
    }
    print(f"fold {number}: {figures['auroc']}", file=sys.stderr, flush=True)
    return figures


def _marked(rows: Sequence[_Row]) -> list[Marked]:
    """The images whose defects are marked."""
    found = []
    for row in rows:
        bits = row.sample.class_bits((row.pixels.shape[0], row.pixels.shape[1]))
        if bits is not None:
            found.append(Marked(row.pixels, bits, row.sample.group))
    return found


def _divided(
    rows: Sequence[_Row], shares: dict[str, float], part: str, seed: int
) -> tuple[list[_Row], list[_Row]]:
    """Divide rows by group; return the rows outside that part, and those in it."""
    names = {sample.name for sample in split_samples([row.sample for row in rows], shares, seed)[part]}
    return [row for row in rows if row.sample.name not in names], [
        row for row in rows if row.sample.name in names
    ]


def _features(whole: Embed, images: Sequence[tuple[Pixels, NDArray[np.uint16]]]) -> Features:
    if not images:
        raise DatasetError("no generated defect was plausible; nothing can be compared")
    return whole([pixels for pixels, _ in images])


def _auroc(good: Sequence[_Row], positive: Features, test: Sequence[_Row]) -> float:
    negative = np.stack([row.features for row in good])
    labels = np.repeat([0, 1], [len(negative), len(positive)])
    model = make_pipeline(StandardScaler(), SVC(class_weight="balanced"))
    model.fit(np.concatenate([negative, positive]), labels)
    scores = model.decision_function(np.stack([row.features for row in test]))
    return round(float(roc_auc_score([row.sample.defective for row in test], scores)), 4)

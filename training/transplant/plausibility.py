"""The plausibility filter: keeps the generated defects that a classifier takes for real."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from training.config import ModelConfig
from training.data.sample import Pixels
from training.model.segmenter import Segmenter, build_segmenter
from training.transplant.crops import Crops

FOLDS = 5
LEAST_REAL, LEAST_GROUPS = 5, 3
LEAST_AUROC = 0.6  # of real defects against good surface; with less, the classifier is of no use
_REGULARISATION = 0.01  # `C` of the logistic regression, for few rows and many columns
_STAGES = 3  # the deepest stages; earlier ones respond to edges only
_BATCH = 32

Features = NDArray[np.float32]
Embed = Callable[[Sequence[Pixels]], Features]  # grey images of any size -> one row each


@dataclass(frozen=True)
class Screening:
    """The result of the filter: `plausible` is bool [candidates].

    `auroc_good` and `auroc_generated` measure how well it separates held-out real defects from good surface
    and from generated ones (0.5: not at all). `refusal` says why the filter was not used; all candidates are
    plausible then.
    """

    plausible: NDArray[np.bool_]
    real: int
    groups: int
    auroc_good: float | None = None
    auroc_generated: float | None = None
    refusal: str | None = None


def screen(real: Crops, generated: Crops, good: Crops, embed: Embed, quantile: float) -> Screening:
    """Score generated defects by a classifier of real ones against generated ones and good surface.

    Scores are cross-validated: the classifier for a defect, its generated copies and their good surface was
    fitted without their group. A generated defect is plausible if its score is at least the `quantile` of the
    scores of real defects.
    """
    everything = np.ones(len(generated.pixels), bool)
    counts = len(real.pixels), len(set(real.groups))
    if counts[0] < LEAST_REAL or counts[1] < LEAST_GROUPS:
        reason = f"{counts[0]} real defects of {counts[1]} parts are too few for the filter; "
        reason += f"at least {LEAST_REAL} of {LEAST_GROUPS} parts are needed"
        return Screening(everything, *counts, refusal=reason)
    parts = [embed(each.pixels) for each in (real, generated, good)]
    scores = _held_out(parts, [real.groups, generated.groups, good.groups])
    of_real, of_generated, of_good = np.split(scores, np.cumsum([len(part) for part in parts])[:-1])
    aurocs = _auroc(of_real, of_good), _auroc(of_real, of_generated)
    if aurocs[0] < LEAST_AUROC:
        reason = f"held-out real defects hardly differ from good surface (AUROC {aurocs[0]:.2f}); "
        return Screening(everything, *counts, *aurocs, reason + "more marked images are needed")
    return Screening(of_generated >= np.quantile(of_real, quantile), *counts, *aurocs)


def _held_out(parts: Sequence[Features], groups: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """Score every row by a classifier fitted without its group; the first part is positive."""
    rows = np.concatenate(parts)
    positive = np.arange(len(rows)) < len(parts[0])
    fold_of = _folds(groups)
    folds = np.array([fold_of[group] for part in groups for group in part])
    scores = np.zeros(len(rows))
    for fold in range(folds.max() + 1):
        held = folds == fold
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=_REGULARISATION, class_weight="balanced", max_iter=500)
        )
        scores[held] = model.fit(rows[~held], positive[~held]).decision_function(rows[held])
    return scores


def _folds(groups: Sequence[Sequence[str]]) -> dict[str, int]:
    """The fold of each group: real defects are dealt out first, so that every fold has some."""
    real = list(dict.fromkeys(groups[0]))
    others = [group for group in dict.fromkeys(g for part in groups[1:] for g in part) if group not in real]
    count = min(FOLDS, len(real))
    return {group: number % count for number, group in enumerate([*real, *others])}


def _auroc(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    labels = np.arange(len(positive) + len(negative)) < len(positive)
    return float(roc_auc_score(labels, np.concatenate([positive, negative])))


def frozen_encoder(side: int) -> Embed:
    """Return a function that computes features of grey uint8 images, each resized to `side` x `side` px.

    A row has mean and maximum of the deepest stages of the default encoder with ImageNet weights. Raises
    ConfigError if these are not installed.
    """
    segmenter = build_segmenter(ModelConfig(weights="imagenet"), classes=1, seed=0).eval()

    def embed(images: Sequence[Pixels]) -> Features:
        starts = range(0, len(images), _BATCH)
        return np.concatenate([_pooled(segmenter, images[start : start + _BATCH], side) for start in starts])

    return embed


@torch.inference_mode()
def _pooled(segmenter: Segmenter, images: Sequence[Pixels], side: int) -> Features:
    batch = np.stack([_squared(pixels, side) for pixels in images])
    stages = segmenter.features(torch.from_numpy(batch))[-_STAGES:]
    pooled = [part for stage in stages for part in (stage.mean(dim=(2, 3)), stage.amax(dim=(2, 3)))]
    return np.asarray(torch.cat(pooled, dim=1).numpy(), np.float32)


def _squared(pixels: Pixels, side: int) -> Pixels:
    shrinks = min(pixels.shape) > side
    resized = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)

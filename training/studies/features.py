"""The image-level baseline: a support vector machine on frozen encoder features, without mask or bundle."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import accuracy_score, precision_score, recall_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from app.inspection.bundle.bundle import InputContract
from app.inspection.inference.tiling import cut
from training.data.sample import DatasetError, Pixels
from training.model.segmenter import Segmenter

CALIBRATION_FOLDS = 5

Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class ImageFigures:
    """Figures of the image-level decision, from 0 to 1; precision is 0 if no image is found defective."""

    accuracy: float
    precision: float
    recall: float
    auroc: float


@dataclass(frozen=True)
class FeatureSvm:
    """A support vector machine fitted to the features of one encoder."""

    segmenter: Segmenter
    contract: InputContract
    classifier: CalibratedClassifierCV

    def probability(self, images: Iterable[Pixels]) -> Probabilities:
        """Return the probability that each image, grey uint8 [H, W] at its own scale, is defective."""
        found: Probabilities = self.classifier.predict_proba(
            encoder_features(self.segmenter, self.contract, images)
        )[:, 1]
        return found


def encoder_features(
    segmenter: Segmenter, contract: InputContract, images: Iterable[Pixels]
) -> NDArray[np.float32]:
    """Return mean and maximum of every channel of every encoder level, float32 [images, features].

    Images are grey uint8 [H, W] at their own scale, cut into tiles like in the service. Means and maxima are
    over all tiles of an image. The first level, the input itself, is left out.
    """
    segmenter.eval()
    device = next(segmenter.parameters()).device
    rows = []
    with torch.inference_mode():
        for image in images:
            tiles = torch.from_numpy(cut(image, contract)[0][..., 0]).to(device)
            levels = segmenter.features(tiles)[1:]
            pooled = [level.mean(dim=(0, 2, 3)) for level in levels]
            pooled += [level.amax(dim=(0, 2, 3)) for level in levels]
            rows.append(torch.cat(pooled).float().cpu().numpy())
    return np.stack(rows)


def fit_svm(
    segmenter: Segmenter,
    contract: InputContract,
    images: Iterable[Pixels],
    defective: Sequence[bool],
    groups: Sequence[str],
) -> FeatureSvm:
    """Fit a support vector machine with a radial kernel, its probability calibrated by Platt's sigmoid.

    The sigmoid is fitted to answers on held-out groups, in CALIBRATION_FOLDS folds, or in fewer if there are
    fewer good or defective groups. Raises DatasetError if there are fewer than two of either.
    """
    labels, names = np.asarray(defective, bool), np.asarray(groups)
    kinds = [len(set(names[labels == kind])) for kind in (False, True)]
    if min(kinds) < 2:
        raise DatasetError(
            "a support vector machine needs two groups each of good and of defective images, "
            f"not {kinds[0]} and {kinds[1]}"
        )
    features = encoder_features(segmenter, contract, images)
    folds = StratifiedGroupKFold(min(CALIBRATION_FOLDS, *kinds), shuffle=True, random_state=0)
    classifier = CalibratedClassifierCV(
        make_pipeline(StandardScaler(), SVC(class_weight="balanced")),
        method="sigmoid",
        cv=list(folds.split(features, labels, names)),
        ensemble=False,
    ).fit(features, labels)
    return FeatureSvm(segmenter, contract, classifier)


def image_figures(
    defective: Sequence[bool], probability: Probabilities, threshold: float = 0.5
) -> ImageFigures:
    """Compare decisions with labels; raises DatasetError unless there are good and defective images."""
    if len(set(defective)) < 2:
        raise DatasetError("image-level figures need good and defective images; add the missing ones")
    called = probability >= threshold
    return ImageFigures(
        accuracy=float(accuracy_score(defective, called)),
        precision=float(precision_score(defective, called, zero_division=0)),
        recall=float(recall_score(defective, called)),
        auroc=float(roc_auc_score(defective, probability)),
    )

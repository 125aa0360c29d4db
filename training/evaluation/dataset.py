"""One pass of a bundle over a labelled data set, and all figures from it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.inspection.bundle.calibration import Curve
from app.inspection.inspector import Inspector
from app.inspection.rules.part_model import PartModel
from training.data.sample import Dataset, Sample
from training.evaluation.by_part import part_figures
from training.evaluation.compared import Compared, compare, inspect_with_prediction
from training.evaluation.curves import image_curves, image_reliability, pro_curve
from training.evaluation.figures import summarise
from training.evaluation.pixels import PixelLevels
from training.evaluation.slices import slice_figures
from training.statistics import Figures


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The results of all images, in the order of the data set, and the figures of evaluation.json."""

    compared: list[Compared]
    figures: Figures


def evaluate_dataset(inspector: Inspector, dataset: Dataset, confidence: float = 0.95) -> Evaluation:
    """Inspect every image of a data set once, from its file's bytes, and compute all figures.

    The same as `evaluate_parts` with one part.
    """
    return evaluate_parts([(inspector, dataset.samples)], dataset.classes, confidence)


def evaluate_parts(
    parts: Iterable[tuple[Inspector, Sequence[Sample]]], classes: Sequence[str], confidence: float = 0.95
) -> Evaluation:
    """Inspect every image of each part with that part's inspector, and compute the figures of all images.

    Classes are matched by name; defects of classes unknown to the bundle count in the any-defect figures
    only. Pixel figures leave out images whose defects are not marked. Raises DatasetError with the name of
    a sample that is refused.
    """
    levels, compared = PixelLevels(), []
    calibrated: list[tuple[NDArray[np.float32], PixelLevels]] = []
    curves: list[Curve] = []
    models: list[PartModel | None] = []
    for inspector, samples in parts:
        calibration, own = inspector.session.artifact.calibration, PixelLevels()
        for sample in samples:
            seen = inspect_with_prediction(inspector, sample)
            bits = sample.class_bits(seen.inspection.label_map.shape)
            if bits is not None:
                for each in (levels, own):
                    each.add(seen.prediction.probability, bits)
            compared.append(compare(sample, seen, bits, classes))
            curves.append(calibration.image)
            models.append(inspector.session.artifact.operating_point.parts)
        calibrated.append((calibration.mask_table(), own))
    figures = summarise(compared, confidence) | {
        **image_reliability(compared, curves),
        "pixels": levels.figures(calibrated),
        "curves": (image_curves(compared) or {}) | {"region_overlap": pro_curve(levels)},
        "by_part": part_figures(compared, models, confidence),
        "slices": slice_figures(compared, confidence),
    }
    return Evaluation(compared, figures)

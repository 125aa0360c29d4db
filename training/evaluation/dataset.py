"""One pass of a bundle over one labelled set, and everything that follows from it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.inspection.bundle.calibration import Curve
from app.inspection.inspector import Inspector
from app.inspection.rules.part_model import PartModel
from training.data.sample import Dataset, Sample
from training.evaluation.by_part import part_figures
from training.evaluation.curves import image_reliability, picture_curves, pro_curve
from training.evaluation.figures import summarise
from training.evaluation.judged import Judged, inspect_with_prediction, judge
from training.evaluation.pixels import PixelLevels
from training.evaluation.slices import slice_figures
from training.statistics import Figures


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The pictures judged, in the set's order, and the figures of evaluation.json."""

    judged: list[Judged]
    figures: Figures


def evaluate_dataset(inspector: Inspector, dataset: Dataset, confidence: float = 0.95) -> Evaluation:
    """Inspect every picture of a set once, from its own bytes, and work out all figures.

    As `evaluate_parts` with one part.
    """
    return evaluate_parts([(inspector, dataset.samples)], dataset.classes, confidence)


def evaluate_parts(
    parts: Iterable[tuple[Inspector, Sequence[Sample]]], classes: Sequence[str], confidence: float = 0.95
) -> Evaluation:
    """Inspect every image of each part with that part's inspector, and work out the figures of all together.

    Classes are matched by name: of classes the bundle does not know, only the any-defect figures tell. The
    mask's figures before thresholds leave out pictures whose defects' pixels are unknown. Raises DatasetError
    naming a sample that is refused.
    """
    levels, judged = PixelLevels(), []
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
            judged.append(judge(sample, seen, bits, classes))
            curves.append(calibration.image)
            models.append(inspector.session.artifact.operating_point.parts)
        calibrated.append((calibration.mask_table(), own))
    figures = summarise(judged, confidence) | {
        **image_reliability(judged, curves),
        "pixels": levels.figures(calibrated),
        "curves": (picture_curves(judged) or {}) | {"region_overlap": pro_curve(levels)},
        "by_part": part_figures(judged, models, confidence),
        "slices": slice_figures(judged, confidence),
    }
    return Evaluation(judged, figures)

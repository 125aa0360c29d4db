"""One pass of a bundle over one labelled set, and everything that follows from it."""

from dataclasses import dataclass
from typing import Any

from app.inspection.inspector import Inspector
from training.datasets.sample import Dataset
from training.evaluation.curves import image_reliability, picture_curves, pro_curve
from training.evaluation.figures import summarise
from training.evaluation.judged import Judged, judge, see
from training.evaluation.pixels import PixelLevels
from training.evaluation.slices import slice_figures


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The pictures judged, in the set's order, and the figures of evaluation.json."""

    judged: list[Judged]
    figures: dict[str, Any]


def evaluate_dataset(inspector: Inspector, dataset: Dataset, confidence: float = 0.95) -> Evaluation:
    """Inspect every picture of a set once, from its own bytes, and work out all figures.

    Classes are matched by name: of classes the bundle does not know, only the any-defect figures tell. The
    mask's figures before thresholds leave out pictures whose defects' pixels are unknown. Raises DatasetError
    naming a sample that is refused.
    """
    levels, judged = PixelLevels(), []
    for sample in dataset.samples:
        seen = see(inspector, sample)
        bits = sample.class_bits(seen.inspection.label_map.shape)
        if bits is not None:
            levels.add(seen.prediction.probability, bits)
        judged.append(judge(sample, seen, bits, dataset.classes))
    calibration = inspector.session.artifact.calibration
    figures = summarise(judged, confidence) | {
        **image_reliability(judged, calibration.image),
        "pixels": levels.figures(calibration.mask_table()),
        "curves": (picture_curves(judged) or {}) | {"region_overlap": pro_curve(levels)},
        "slices": slice_figures(judged, confidence),
    }
    return Evaluation(judged, figures)

"""Generalisation: figures on controlled changes of the images and on other data sets, each as a table."""

from collections.abc import Iterator, Mapping, Sequence

import cv2
import numpy as np

from app.inspection.decoding.decode import decode
from app.inspection.inspector import Inspector
from training.data.sample import Bits, Dataset, Pixels, Sample, defects, named
from training.evaluation.changes import CHANGES, Change
from training.evaluation.compared import Compared, compare, inspect_with_prediction
from training.evaluation.dataset import evaluate_dataset
from training.evaluation.figures import image_rates, mean
from training.statistics import Figures

ROW_RATES = ("accuracy", "precision", "recall", "overkill_rate")


def robustness(
    inspector: Inspector,
    dataset: Dataset,
    confidence: float = 0.95,
    pictures: int = 200,
    changes: Sequence[Change] = CHANGES,
) -> Figures:
    """The figures of a data set for every change and strength, `unchanged` first.

    At most `pictures` images are used, evenly from good and defective ones. A row leaves out images that
    the change made too small for the bundle, or in which no defect pixel remains. Raises DatasetError with
    the name of a sample that is refused.
    """
    samples = _evenly(dataset.samples, pictures)
    same = Change("unchanged", "", (1.0,), lambda pixels, bits, strength: (pixels, bits))
    rows = []
    for change in (same, *changes):
        for strength in change.strengths:
            compared = list(_compared(inspector, samples, dataset.classes, change, strength))
            figures = _row(compared, confidence) | {"left_out": len(samples) - len(compared)}
            rows.append({"change": change.name, "unit": change.unit, "strength": strength} | figures)
    return {"pictures": len(samples), "table": rows}


def generalisation(
    inspector: Inspector, datasets: Mapping[str, Dataset], confidence: float = 0.95
) -> list[Figures]:
    """The any-defect figures of other data sets, one row each; their classes do not matter."""
    rows = []
    for name, dataset in datasets.items():
        figures = evaluate_dataset(inspector, dataset, confidence).figures
        pixels = {"pixel_average_precision": figures["pixels"]["average_precision"]}
        kept = {key: figures[key] for key in ("pictures", "defective", "groups", *ROW_RATES, "auroc")}
        dice = figures["dice"]["per_defective_picture"]
        rows.append(
            {"set": name} | kept | pixels | {"aupro": figures["pixels"]["aupro"]["value"], "dice": dice}
        )
    return rows


def _evenly(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most `most` samples, evenly spaced, with the same share of defective ones."""
    ordered = sorted(samples, key=lambda each: each.defective)  # stable: keeps the order of the data set
    places = np.linspace(0, len(ordered) - 1, min(most, len(ordered))).round().astype(int)
    return [ordered[place] for place in places]


def _compared(
    inspector: Inspector,
    samples: Sequence[Sample],
    classes: Sequence[str],
    change: Change,
    strength: float,
) -> Iterator[Compared]:
    for sample in samples:
        with named(sample.name, sample.image):
            pixels = decode(sample.image.read(), inspector.limits)
        bits = sample.class_bits((pixels.shape[0], pixels.shape[1]))
        pixels, bits = change.apply(pixels, bits, strength)
        if min(pixels.shape[:2]) < inspector.limits.min_side_px or _lost(sample, bits):
            continue
        yield compare(sample, inspect_with_prediction(inspector, sample, _encoded(pixels)), bits, classes)


def _lost(sample: Sample, bits: Bits | None) -> bool:
    return sample.defective and bits is not None and not defects(bits).any()


def _encoded(pixels: Pixels) -> bytes:
    """The pixels as a lossless file."""
    colours = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    return cv2.imencode(".png", colours, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def _row(compared: Sequence[Compared], confidence: float) -> Figures:
    rates = image_rates(compared, confidence)
    dice = mean([each.dice for each in compared if each.dice is not None])
    return {"pictures": len(compared)} | {name: rates[name] for name in ROW_RATES} | {"dice": dice}

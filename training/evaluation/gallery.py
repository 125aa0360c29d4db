"""The worst images of an evaluation, with the contours of what is marked and of what the bundle called."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.inspector import Inspector
from app.inspection.results import Seen
from training.data.sample import DEFECTS, Dataset, Pixels, Sample
from training.evaluation.judged import Judged, inspect_with_prediction

WORST = 12  # images a gallery
LONGEST_PX = 480  # of an image in the report
MARKED, CALLED = (0, 200, 80), (255, 40, 40)  # RGB: green is the reference, red what the bundle called


@dataclass(frozen=True, eq=False)
class Shown:
    """A small RGB image with contours drawn in, and what to know of it."""

    pixels: Pixels
    caption: str


def galleries(inspector: Inspector, dataset: Dataset, judged: Sequence[Judged]) -> dict[str, list[Shown]]:
    """The surest escapes and false alarms and the worst masks of parts that were stopped, worst first.

    `judged` are the set's images in its order; the few shown are inspected once more, so that an evaluation
    need not keep images.
    """
    missed = _worst(judged, lambda e: e.image_probability if e.defective and not e.called_defective else None)
    alarms = _worst(
        judged, lambda e: -e.image_probability if not e.defective and e.called_defective else None
    )
    masks = _worst(judged, lambda e: e.dice if e.called_defective else None)
    return {
        name: [_show(inspector, dataset.samples[k], judged[k]) for k in places]
        for name, places in (("escapes", missed), ("false alarms", alarms), ("worst masks", masks))
    }


def _worst(judged: Sequence[Judged], rank: Callable[[Judged], float | None]) -> list[int]:
    """The places of the images that rank lowest, without those that have no rank."""
    ranked = sorted((value, k) for k, each in enumerate(judged) if (value := rank(each)) is not None)
    return [k for _, k in ranked[:WORST]]


def _show(inspector: Inspector, sample: Sample, judged: Judged) -> Shown:
    seen = inspect_with_prediction(inspector, sample)
    caption = (
        f"{judged.name}: {judged.picture_class}, verdict {judged.verdict}, p {judged.image_probability:.2f}"
    )
    dice = "" if judged.dice is None else f", Dice {judged.dice:.2f}"
    bits = sample.class_bits(seen.inspection.label_map.shape)
    return Shown(overlay(seen, None if bits is None else bits & DEFECTS), caption + dice)


def overlay(seen: Seen, bits: NDArray[np.uint16] | None) -> Pixels:
    """A small RGB copy of the image with the contours of the reference, then of the label map."""
    pixels = seen.pixels if seen.pixels.ndim == 3 else cv2.cvtColor(seen.pixels, cv2.COLOR_GRAY2RGB)
    factor = min(1.0, LONGEST_PX / max(pixels.shape[:2]))
    size = (max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))
    small = np.array(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    for mask, colour in ((bits, MARKED), (seen.inspection.label_map, CALLED)):
        if mask is None:
            continue
        # found at full size: the contour of a 3 px defect must not vanish in the small copy
        contours, _ = cv2.findContours((mask > 0).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        lines = [np.asarray(each * factor, np.int32) for each in contours]
        cv2.polylines(small, lines, True, colour, 1)
    return small

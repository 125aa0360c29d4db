"""The worst images of an evaluation, with contours of the reference and of the bundle's mask."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.inspector import Inspector
from app.inspection.results import Seen
from training.data.sample import DEFECTS, Dataset, Pixels, Sample
from training.evaluation.compared import Compared, inspect_with_prediction

WORST = 12  # images per gallery
LONGEST_PX = 480  # longest side of an image in the report
MARKED, FOUND = (0, 200, 80), (255, 40, 40)  # RGB: green is the reference, red the bundle's mask


@dataclass(frozen=True, eq=False)
class Shown:
    """A small RGB image with contours, and its caption."""

    pixels: Pixels
    caption: str


def galleries(inspector: Inspector, dataset: Dataset, compared: Sequence[Compared]) -> dict[str, list[Shown]]:
    """The clearest escapes and false alarms, and the worst masks of images that did not pass, worst first.

    The results are in the order of the data set. The few images shown are inspected again, so an evaluation
    keeps no images in memory.
    """
    missed = _worst(
        compared, lambda e: e.image_probability if e.defective and not e.called_defective else None
    )
    alarms = _worst(
        compared, lambda e: -e.image_probability if not e.defective and e.called_defective else None
    )
    masks = _worst(compared, lambda e: e.dice if e.called_defective else None)
    return {
        name: [_show(inspector, dataset.samples[k], compared[k]) for k in places]
        for name, places in (("escapes", missed), ("false alarms", alarms), ("worst masks", masks))
    }


def _worst(compared: Sequence[Compared], rank: Callable[[Compared], float | None]) -> list[int]:
    """The indices of the images with the lowest rank; images with rank None are left out."""
    ranked = sorted((value, k) for k, each in enumerate(compared) if (value := rank(each)) is not None)
    return [k for _, k in ranked[:WORST]]


def _show(inspector: Inspector, sample: Sample, compared: Compared) -> Shown:
    seen = inspect_with_prediction(inspector, sample)
    caption = (
        f"{compared.name}: {compared.picture_class}, verdict {compared.verdict}, "
        f"p {compared.image_probability:.2f}"
    )
    dice = "" if compared.dice is None else f", Dice {compared.dice:.2f}"
    bits = sample.class_bits(seen.inspection.label_map.shape)
    return Shown(overlay(seen, None if bits is None else bits & DEFECTS), caption + dice)


def overlay(seen: Seen, bits: NDArray[np.uint16] | None) -> Pixels:
    """A small RGB copy of the image with the contours of the reference, then of the label map."""
    pixels = seen.pixels if seen.pixels.ndim == 3 else cv2.cvtColor(seen.pixels, cv2.COLOR_GRAY2RGB)
    factor = min(1.0, LONGEST_PX / max(pixels.shape[:2]))
    size = (max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))
    small = np.array(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    for mask, colour in ((bits, MARKED), (seen.inspection.label_map, FOUND)):
        if mask is None:
            continue
        # at full size, so that the contour of a 3 px defect does not vanish in the small copy
        contours, _ = cv2.findContours((mask > 0).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        lines = [np.asarray(each * factor, np.int32) for each in contours]
        cv2.polylines(small, lines, True, colour, 1)
    return small

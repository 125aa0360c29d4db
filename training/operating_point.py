"""The operating point: thresholds, chosen on the calibration split only."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.artifact import ExpectedRates, OperatingPoint
from app.inspection.decode import decode
from app.inspection.inspector import Inspector
from app.inspection.mask import to_label_map
from app.inspection.mask_metrics import dice_of_counts
from training.bounds import interval
from training.config import OperatingPointConfig
from training.datasets.sample import Bits, Sample, named
from training.risk import choose_row, thinned, trade_off

PIXEL_THRESHOLDS = (0.02, 0.03, 0.05, 0.07, *np.round(np.arange(0.10, 0.91, 0.05), 2).tolist())
MIN_AREAS_PX = (0, 8, 16, 32, 48, 64, 96, 128)


class OperatingPointError(RuntimeError):
    """No usable threshold exists on the calibration split."""


@dataclass(frozen=True)
class Scored:
    """A calibration picture with what the shipped graph says of it.

    `probability` is uint8 [classes, height, width]; `bits` (uint16 [height, width]) are None
    where pixels are unlabelled.
    """

    probability: NDArray[np.uint8]
    image_probability: float
    bits: Bits | None
    defective: bool
    group: str


def score(inspector: Inspector, samples: Sequence[Sample]) -> list[Scored]:
    """Run the bundle's graph over samples; raises DatasetError naming a picture that cannot be judged."""
    scored = []
    for sample in samples:
        with named(sample.name, sample.image):
            prediction = inspector.predict(decode(sample.image.read(), inspector.limits))
        height, width = prediction.probability.shape[1:]
        bits = sample.class_bits((height, width))
        scored.append(
            Scored(
                probability=prediction.probability,
                image_probability=prediction.image_probability,
                bits=bits,
                defective=sample.defective,
                group=sample.group,
            )
        )
    return scored


def choose(scored: Sequence[Scored], config: OperatingPointConfig) -> OperatingPoint:
    """Return the thresholds with the best Dice (pixel, smallest area) and by the risk asked for (image).

    The first two are chosen before, and have no part in which pictures are called defective: the image
    threshold decides that alone. The expected rates are those of the same split, a first guess until the test
    split's replace them. Raises OperatingPointError where the split holds only one kind of picture or no
    image threshold tells the kinds apart.
    """
    pixel_threshold, min_area = _best_mask_thresholds(scored)
    image = [each.image_probability for each in scored]
    defective = [each.defective for each in scored]
    if len(set(defective)) == 1:
        raise OperatingPointError("the calibration split needs good and defective pictures")
    table = trade_off(image, defective, [each.group for each in scored], config.confidence)
    if table is None:
        raise OperatingPointError(
            "every image threshold calls all calibration pictures the same, or is wrong of all of one kind; "
            "train longer"
        )
    row, chosen = choose_row(table, config)
    called = [probability >= row.image_threshold for probability in image]
    return OperatingPoint(
        image_threshold=row.image_threshold,
        pixel_threshold=pixel_threshold,
        min_area_px=min_area,
        expected=expected_rates("calibration", defective, called, config.confidence),
        chosen=chosen,
        trade_off=thinned(table, row),
    )


def expected_rates(
    split: Literal["calibration", "test"],
    defective: Sequence[bool],
    called: Sequence[bool],
    confidence: float,
) -> ExpectedRates:
    """Return the escape and overkill rates of a split, with their exact intervals.

    `defective` and `called` say of each picture what it is and what it was called; both kinds must occur.
    """
    pairs = Counter(zip(defective, called, strict=True))
    bad, good = (pairs[kind, True] + pairs[kind, False] for kind in (True, False))
    return ExpectedRates(
        split=split,
        confidence=confidence,
        defective=bad,
        good=good,
        escape_rate=pairs[True, False] / bad,
        escape_interval=interval(pairs[True, False], bad, confidence),
        overkill_rate=pairs[False, True] / good,
        overkill_interval=interval(pairs[False, True], good, confidence),
    )


def _best_mask_thresholds(scored: Sequence[Scored]) -> tuple[float, int]:
    marked = [each for each in scored if each.defective and each.bits is not None]
    if not marked:
        raise OperatingPointError("the calibration split has no defective picture with a mask; add some")
    table = np.mean(
        [[_dice_by_min_area(each, level) for level in PIXEL_THRESHOLDS] for each in marked], axis=0
    )
    best = np.unravel_index(np.argmax(table), table.shape)
    return PIXEL_THRESHOLDS[best[0]], MIN_AREAS_PX[best[1]]


def _dice_by_min_area(each: Scored, pixel_threshold: float) -> list[float]:
    """Dice of any defect for every least area, from one labelling of the regions of each class."""
    point = OperatingPoint(image_threshold=1.0, pixel_threshold=pixel_threshold, min_area_px=0)
    label_map, reference = to_label_map(each.probability, 1.0, point), _mask(each)
    areas, hits = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)]
    for k in np.unique(label_map[label_map > 0]):
        number, regions = cv2.connectedComponents((label_map == k).view(np.uint8), connectivity=8)
        areas.append(np.bincount(regions.ravel(), minlength=number)[1:])
        hits.append(np.bincount(regions[reference], minlength=number)[1:])
    area, hit, marked = np.concatenate(areas), np.concatenate(hits), np.count_nonzero(reference)
    kept = [area >= least for least in MIN_AREAS_PX]
    return [dice_of_counts(int(area[keep].sum()), int(marked), int(hit[keep].sum())) for keep in kept]


def _mask(each: Scored) -> NDArray[np.bool_]:
    assert each.bits is not None
    return each.bits > 0

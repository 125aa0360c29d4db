"""The operating point: thresholds and region model, chosen on images that the graph was not fitted on."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.bundle.artifact import ExpectedRates, OperatingPoint
from app.inspection.mask_metrics import dice
from app.inspection.measuring.defect_regions import form_regions, keep_defects
from app.inspection.measuring.mask import marks_of, pixel_level
from app.inspection.rules.trade_off import TradeOff
from training.config import OperatingPointConfig
from training.statistics import interval
from training.thresholds.part_fit import fit_part_model
from training.thresholds.predictions import Scored
from training.thresholds.region_fit import UNFITTED, fit_region_model, held_out_probability, region_table
from training.thresholds.risk import choose_row, thinned, trade_off

PIXEL_THRESHOLDS = (0.02, 0.03, 0.05, 0.07, *np.round(np.arange(0.10, 0.91, 0.05), 2).tolist())
# Shares of the good images that may be reviewed for their image-level answer alone, and what it must gain.
HEAD_REVIEWS = (0.005, 0.01, 0.02, 0.05, 0.1)
LEAST_GAIN = 0.005
LAST_RESORT = (0.2, 0.4, 0.6, 0.8)


class OperatingPointError(RuntimeError):
    """No usable threshold exists on the calibration split."""


@dataclass(frozen=True, eq=False)
class Choice:
    """An operating point, and the image probability of each image by region models that had not seen it."""

    point: OperatingPoint
    image_probability: NDArray[np.float64]


def choose(scored: Sequence[Scored], config: OperatingPointConfig) -> Choice:
    """Return the operating point of a graph, chosen on images that the graph was not fitted on.

    First the pixel threshold with the best Dice of defective images; at it the region model is fitted; then
    the head threshold, which few good images exceed. Last come the image threshold, by the
    risk asked for, and the part model, on probabilities that each image has from region models fitted on
    other groups. The expected rates are those of the same images, a first guess until those of a test split
    replace them.

    Raises OperatingPointError where there is only one kind of image, or no threshold tells the kinds apart.
    """
    defective, groups = np.array([each.defective for each in scored]), [each.group for each in scored]
    if len(np.unique(defective)) < 2:
        raise OperatingPointError("thresholds need good and defective images to be chosen on")
    draft = OperatingPoint(
        pixel_threshold=_best_pixel_threshold(scored, config.min_area_px),
        min_area_px=config.min_area_px,
        regions=UNFITTED,
        image_threshold=1.0,
        head_threshold=1.0,
    )
    table = region_table(scored, draft)
    image = table.highest(held_out_probability(table))
    head = np.array([each.head_probability for each in scored])
    head_threshold, risks = _risks(head, image, scored, config)
    stopped = head >= head_threshold
    kinds = defective.tolist()
    row, chosen = choose_row(risks, config)
    called = (stopped | (image >= row.image_threshold)).tolist()
    settled = {
        "regions": fit_region_model(table),
        "head_threshold": head_threshold,
        "image_threshold": row.image_threshold,
        "expected": expected_rates("calibration", kinds, called, config.confidence),
        "chosen": chosen,
        "trade_off": thinned(risks, row),
        "parts": fit_part_model(image.tolist(), groups, kinds, config),
    }
    return Choice(draft.model_copy(update=settled), image)


def label_map(each: Scored, point: OperatingPoint) -> NDArray[np.uint8]:
    """The label map uint8 [H, W] that the service returns for a scored image at an operating point."""
    marks = marks_of(each.probability, point)
    regions = form_regions(marks, each.pixels, each.tiles, point)
    keep_defects(marks, regions, point)
    return marks.label_map


def expected_rates(
    split: Literal["calibration", "test", "out-of-fold"],
    defective: Sequence[bool],
    called: Sequence[bool],
    confidence: float,
) -> ExpectedRates:
    """Return the escape and overkill rates of a split, with their exact intervals.

    `defective` and `called` say of each image what it is and what it was called; both kinds must occur.
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


def _best_pixel_threshold(scored: Sequence[Scored], min_area_px: int) -> float:
    """The threshold with the best mean Dice of defective images, as all their regions would be kept."""
    table = []
    for each in scored:
        if each.defective and (bits := each.bits) is not None and bits.any():
            highest = each.probability.max(axis=0)
            table.append([_dice_at(highest, bits > 0, level, min_area_px) for level in PIXEL_THRESHOLDS])
    if not table:
        raise OperatingPointError("there is no defective image with a mask to choose thresholds on; add some")
    return float(PIXEL_THRESHOLDS[int(np.argmax(np.mean(table, axis=0)))])


def _dice_at(
    highest: NDArray[np.uint8], marked: NDArray[np.bool_], threshold: float, min_area_px: int
) -> float:
    called = (highest >= pixel_level(threshold)).view(np.uint8)
    _, regions, stats, _ = cv2.connectedComponentsWithStats(called, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= min_area_px
    large[0] = False
    return dice(large[regions], marked)


def _risks(
    head: NDArray[np.float64],
    image: NDArray[np.float64],
    scored: Sequence[Scored],
    config: OperatingPointConfig,
) -> tuple[float, TradeOff]:
    """The head threshold and, with it in force, the trade-off of image thresholds.

    Of a network whose regions tell nothing yet, as many good images as it takes are reviewed for the head's
    answer. Raises OperatingPointError where that tells nothing either.
    """
    defective, groups = np.array([each.defective for each in scored]), [each.group for each in scored]
    for shares in (HEAD_REVIEWS, LAST_RESORT):
        threshold = _head_threshold(head, image, defective, config.beta, shares)
        # An image that the head stops is stopped at every image threshold.
        levels = np.where(head >= threshold, 1.0, image)
        found = trade_off(levels.tolist(), defective.tolist(), groups, config.confidence)
        if found is not None:
            return threshold, found
    raise OperatingPointError(
        "every image threshold calls all images the same, or is wrong of all of one kind; train longer"
    )


def _head_threshold(
    head: NDArray[np.float64],
    image: NDArray[np.float64],
    defective: NDArray[np.bool_],
    beta: float,
    shares: Sequence[float],
) -> float:
    """The image-level answer from which an image without a defect is reviewed.

    As few good images as `shares` begins with exceed it; more only where that gains F-beta.
    """
    best, chosen = -1.0, 1.0
    good = np.sort(head[~defective])
    for share in shares:
        place = min(len(good) - 1, int(np.ceil((1 - share) * len(good))))
        threshold = min(1.0, float(np.nextafter(np.float32(good[place]), np.float32(2))))
        reached = _best_f_beta(np.where(head >= threshold, 2.0, image), defective, beta)
        if reached > best + LEAST_GAIN:
            best, chosen = reached, threshold
    return chosen


def _best_f_beta(levels: NDArray[np.float64], defective: NDArray[np.bool_], beta: float) -> float:
    """F-beta of calling images defective from a level above 0 on, at the best level; 0 without one."""
    order = np.argsort(-levels)
    hits, called = np.cumsum(defective[order]), np.arange(1, len(levels) + 1)
    last = np.append(np.diff(levels[order]) != 0, True)  # equal levels are called together
    scores = (1 + beta**2) * hits / (beta**2 * defective.sum() + called)
    return float(scores[last & (levels[order] > 0)].max(initial=0.0))

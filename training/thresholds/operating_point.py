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
# Shares of good images that may get `review` from the head alone, and the F-beta each larger share must gain.
HEAD_REVIEWS = (0.005, 0.01, 0.02, 0.05, 0.1)
LEAST_GAIN = 0.005
LAST_RESORT = (0.2, 0.4, 0.6, 0.8)


class OperatingPointError(RuntimeError):
    """No usable threshold exists on the calibration split."""


@dataclass(frozen=True, eq=False)
class Choice:
    """An operating point, and the held-out image probability of each image."""

    point: OperatingPoint
    image_probability: NDArray[np.float64]


def choose(scored: Sequence[Scored], config: OperatingPointConfig) -> Choice:
    """Return the operating point of a graph, chosen on images that the graph was not fitted on.

    The steps, in order: the pixel threshold with the best Dice of defective images; the region model at that
    threshold; the head threshold, which few good images exceed; the image threshold by the requested risk;
    the part model. The last two use image probabilities from region models fitted on other groups. The
    expected rates are of the same images, until those of a test split replace them.

    Raises OperatingPointError if all images are good or all defective, or if no threshold separates them.
    """
    defective, groups = np.array([each.defective for each in scored]), [each.group for each in scored]
    if len(np.unique(defective)) < 2:
        raise OperatingPointError("choosing thresholds needs both good and defective images; add some")
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

    For each image, `defective` is its label and `called` whether it was found defective. There must be good
    and defective images.
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
    """The threshold with the best mean Dice of defective images if all regions are kept."""
    table = []
    for each in scored:
        if each.defective and (bits := each.bits) is not None and bits.any():
            highest = each.probability.max(axis=0)
            table.append([_dice_at(highest, bits > 0, level, min_area_px) for level in PIXEL_THRESHOLDS])
    if not table:
        raise OperatingPointError("choosing thresholds needs defective images with a mask; add some")
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
    """The head threshold, and the trade-off of image thresholds with that head threshold.

    If the regions do not separate good from defective images, more good images may be reviewed because of
    the head. Raises OperatingPointError if the head does not separate them either.
    """
    defective, groups = np.array([each.defective for each in scored]), [each.group for each in scored]
    for shares in (HEAD_REVIEWS, LAST_RESORT):
        threshold = _head_threshold(head, image, defective, config.beta, shares)
        # An image above the head threshold does not pass at any image threshold.
        levels = np.where(head >= threshold, 1.0, image)
        found = trade_off(levels.tolist(), defective.tolist(), groups, config.confidence)
        if found is not None:
            return threshold, found
    raise OperatingPointError("no image threshold separates good from defective images; train longer")


def _head_threshold(
    head: NDArray[np.float64],
    image: NDArray[np.float64],
    defective: NDArray[np.bool_],
    beta: float,
    shares: Sequence[float],
) -> float:
    """The head probability from which an image without a defect gets `review`.

    The first of `shares` of the good images exceed it; a larger share only if F-beta gains LEAST_GAIN.
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
    """The highest F-beta over all thresholds on `levels` above 0; 0 if no level is above 0."""
    order = np.argsort(-levels)
    hits, called = np.cumsum(defective[order]), np.arange(1, len(levels) + 1)
    last = np.append(np.diff(levels[order]) != 0, True)  # equal levels lie on one side of a threshold
    scores = (1 + beta**2) * hits / (beta**2 * defective.sum() + called)
    return float(scores[last & (levels[order] > 0)].max(initial=0.0))

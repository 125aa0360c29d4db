"""The input gate: scores that say whether an image resembles the training images.

Sharpness, brightness, clipped share, border contrast, grain and size come from the pixels alone. The
feature distance comes from the encoder and depends on the kind of surface.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.bundle.arrays import ArraysInvalid, read_arrays
from app.inspection.bundle.artifact import Gate, GateScore
from app.inspection.bundle.bundle import Bundle
from app.inspection.errors import BundleInvalid, InferenceFailed
from app.inspection.results import Looked, Reason, Rule, Unit

MEANS: dict[GateScore, tuple[Rule, Unit]] = {
    "sharpness": ("blur", "ratio"),
    "brightness": ("exposure", "grey_levels"),
    "clipped_share": ("saturation", "share"),
    "border_contrast": ("polarity", "ratio"),
    "grain": ("grain", "grey_levels"),
    "short_side_px": ("size", "px"),
    "long_side_px": ("size", "px"),
    "feature_distance": ("product", "ratio"),
}
CLIPPED = (1, 254)  # darkest and brightest level that count as clipped: JPEG moves levels by one
# For sharpness, in px of the half-size image: distance of the wide difference, and side of a block.
REACH, BLOCK = 4, 16
RING = 8  # the short side is so many times as long as the border ring is wide
# Of the response of Immerkaer's operator to white noise: the standard deviation, and the median of the
# absolute value, in standard deviations.
NOISE_GAIN, MEDIAN_SHARE = 6.0, 0.6745
STRIP_PX = 1 << 18  # pixels processed at a time
FLAT = 1e-3  # squared grey levels; least energy, so that a block without contrast is not sharp


@dataclass(frozen=True, eq=False)
class FeatureDistribution:
    """Distribution of the features of known images: `mean` float32 [F], `whitening` float32 [F, F]."""

    mean: NDArray[np.float32]
    whitening: NDArray[np.float32]

    def distance(self, features: NDArray[np.float32]) -> float:
        """Distance of features [F] from the mean, as a ratio to the root mean square of known images.

        This is the Mahalanobis distance divided by the square root of F.
        """
        white = (features - self.mean) @ self.whitening
        return float(np.sqrt(np.mean(white * white)))

    @classmethod
    def read(cls, data: bytes, count: int) -> Self:
        """Read a bundle's file; raises BundleInvalid unless it has both arrays for `count` features."""
        try:
            return cls(**read_arrays(data, {"mean": (count,), "whitening": (count, count)}))
        except ArraysInvalid as error:
            raise BundleInvalid(f"the gate's features are not readable: {error}") from error


class InputGate:
    """The gate of one artifact; stores nothing about an image, so threads may share it."""

    def __init__(self, bundle: Bundle, gate: Gate) -> None:
        """Read the file of the features; raises BundleInvalid or BundleCorrupt."""
        self._checks = gate.checks
        self._distribution = FeatureDistribution.read(bundle.read(gate.features), gate.feature_count)

    def look(self, image: NDArray[np.uint8], features: NDArray[np.float32]) -> Looked:
        """Score uint8 pixels [H, W] or [H, W, 3] with the mean features [F] of their tiles."""
        return self.check(self.pixel_scores(image), features)

    def pixel_scores(
        self, image: NDArray[np.uint8], check: Callable[[], None] = lambda: None
    ) -> dict[GateScore, float]:
        """The scores of uint8 pixels [H, W] or [H, W, 3] that the checks need and that need no model.

        `check` is called regularly; an exception that it raises ends the step.
        """
        return picture_scores(image, any(each.score == "grain" for each in self._checks), check)

    def check(self, of_pixels: Mapping[GateScore, float], features: NDArray[np.float32]) -> Looked:
        """As `look`, from the pixel scores, which need no model.

        `features` [F] is the mean over the tiles, as when the limits were set: a defect can fill a tile,
        but rarely an image. The result has a reason for each limit exceeded. Raises InferenceFailed if
        the feature distance is not finite.
        """
        distance = self._distribution.distance(features)
        if not np.isfinite(distance):  # a NaN would exceed no limit
            raise InferenceFailed("the model gave features at no finite distance from the known ones")
        scores = {**of_pixels, "feature_distance": distance}
        reasons = []
        for each in self._checks:
            measured, (rule, unit) = scores[each.score], MEANS[each.score]
            limit = each.broken(measured)
            if limit is not None:
                reasons.append(Reason(rule, None, measured, limit, unit))
        return Looked({each.score: scores[each.score] for each in self._checks}, tuple(reasons))


def picture_scores(
    image: NDArray[np.uint8], grain: bool = True, check: Callable[[], None] = lambda: None
) -> dict[GateScore, float]:
    """The scores that need only the pixels, uint8 [H, W] or [H, W, 3].

    `brightness` is the median grey level, `clipped_share` the share of pixels that are black or white.
    """
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image, np.uint8)
    counts = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel().astype(np.float64)
    levels = counts.cumsum() / grey.size
    scores: dict[GateScore, float] = {
        "sharpness": sharpness(grey, check),
        "brightness": float(np.searchsorted(levels, 0.5)),
        "clipped_share": float(levels[CLIPPED[0]] + 1 - levels[CLIPPED[1] - 1]),
        "border_contrast": _border_contrast(grey, counts),
        "short_side_px": float(min(grey.shape)),
        "long_side_px": float(max(grey.shape)),
    }
    return scores | {"grain": noise_level(grey, check)} if grain else scores


def _border_contrast(grey: NDArray[np.uint8], counts: NDArray[np.float64]) -> float:
    """Median of the border ring of uint8 [H, W] less that of the rest, in standard deviations of the image.

    `counts` [256] is the histogram. A negative image has the same value with the other sign. The medians
    ignore a defect. The ring is max(1, short side // RING) px wide; without a rest, the contrast is 0.
    """
    width = max(1, min(grey.shape) // RING)
    inner = grey[width:-width, width:-width]
    if not inner.size:
        return 0.0
    within = cv2.calcHist([inner], [0], None, [256], [0, 256]).ravel().astype(np.float64)
    levels = np.arange(256)
    deviation = math.sqrt(counts @ np.square(levels - counts @ levels / grey.size) / grey.size)
    return (_median(counts - within) - _median(within)) / max(deviation, 1)


def _median(counts: NDArray[np.float64]) -> float:
    """The median level of a histogram [256], interpolated between levels."""
    return float(np.interp(0.5, counts.cumsum() / counts.sum(), np.arange(256) + 0.5))


def noise_level(grey: NDArray[np.uint8], check: Callable[[], None] = lambda: None) -> float:
    """Standard deviation of the noise of uint8 [H, W], in grey levels, from 0.12 to 63.

    Immerkaer, Fast noise variance estimation, Computer Vision and Image Understanding 64(2), 1996: an
    operator that is blind to planes and straight edges along rows and columns. The median of its absolute
    response ignores texture and defects on less than half of the image. Fine texture on more counts as noise.
    """
    counts, rows = np.zeros(256), max(1, STRIP_PX // grey.shape[1])
    for start in range(0, len(grey) - 2, rows):
        check()
        strip = grey[start : start + rows + 2]
        response = cv2.Sobel(strip, cv2.CV_16S, 2, 2, ksize=3)[1:-1, 1:-1]
        counts += cv2.calcHist([cv2.convertScaleAbs(response)], [0], None, [256], [0, 256]).ravel()
    if not counts.any():
        return 0.0
    return _median(counts) / NOISE_GAIN / MEDIAN_SHARE


def sharpness(grey: NDArray[np.uint8], check: Callable[[], None] = lambda: None) -> float:
    """Share of fine contrast in uint8 [H, W]: 0 for a flat image, about 1 for a sharp surface.

    For each block: the energy of the second difference of neighbours divided by the energy of the
    difference of pixels REACH apart. Gain and offset cancel out. The median over blocks ignores a
    defect. The smaller value of rows and columns counts, so that motion blur in one direction is found.
    The image is halved first to reduce camera noise, which looks sharp even if the part is blurred.
    """
    size = max(1, grey.shape[1] // 2), max(1, grey.shape[0] // 2)
    half = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
    if min(half.shape) <= REACH:
        return 0.0
    return min(_fine_share(half, check), _fine_share(half.T, check))


def _fine_share(half: NDArray[np.uint8], check: Callable[[], None]) -> float:
    """The median over blocks of the energy ratio of second and wide difference along rows.

    Computed strip by strip to bound the memory: energies take four bytes a pixel.
    """
    fine: list[NDArray[Any]] = []
    coarse: list[NDArray[Any]] = []
    width, rows = max(1, half.shape[1] // BLOCK), max(1, STRIP_PX // half.shape[1])
    for start in range(0, len(half), rows):
        check()
        strip = np.ascontiguousarray(half[start : start + rows])
        second = cv2.Sobel(strip, cv2.CV_32F, 2, 0, ksize=1)
        wide = cv2.absdiff(strip[:, REACH:], strip[:, :-REACH]).astype(np.float32)
        for energies, difference in ((fine, second), (coarse, wide)):
            size = width, len(strip)
            energies.append(cv2.resize(np.square(difference), size, interpolation=cv2.INTER_AREA))
    size = width, max(1, len(half) // BLOCK)
    above, below = (
        cv2.resize(np.concatenate(energies), size, interpolation=cv2.INTER_AREA)
        for energies in (fine, coarse)
    )
    return float(np.median(above / np.maximum(below, FLAT)))

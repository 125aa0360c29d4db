"""Blends a defect into good surface: by Poisson blending or, at borders, by relative reflectance."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.sample import Pixels
from training.transplant.donors import Donor, Flags

Way = Literal["normal", "mixed", "reflectance"]
Field = NDArray[np.float32]

FEATHER_PX = 4  # a blend fades out over this distance from the defect; beyond, the good image is unchanged
MOST_GAIN = 2.5  # larger differences of exposure are not matched, because clipped detail cannot be restored
_POISSON = {"normal": cv2.NORMAL_CLONE, "mixed": cv2.MIXED_CLONE}
_LEAST_CHANGE = 3.0  # grey levels that are visible on an even surface
_SLACK_PX = 2  # margin around visible pixels
_GAP_PX = 15  # side of the largest gap that is closed
_DARKEST = 4.0  # grey levels; ratios to darker surface are noise


def gain_between(host: Pixels, donor: Donor) -> float:
    """Exposure of the host relative to the donor's image, over clean surface; 1 without clean surface."""
    if not donor.clean.any():
        return 1.0
    return float((host[donor.clean].mean() + 1) / (donor.pixels[donor.clean].mean() + 1))


def blend(host: Pixels, donor: Donor, way: Way) -> Pixels:
    """Return the host's window with the donor's defect in it, uint8 [h, w] like both.

    `reflectance`: the brightness of the defect relative to its own surface, times that of the host's surface.
    `normal` and `mixed`: Poisson blending (Pérez et al., Poisson Image Editing, 2003) after matching the
    exposure, with the donor's gradients or the stronger of both. If that blend would reach the window's
    border, whose values the equation needs, reflectance is used instead.
    """
    mask = donor.bits > 0
    area = _grown(mask, FEATHER_PX + 1)
    inner = area[1:-1, 1:-1]
    if way == "reflectance" or not inner.any() or np.count_nonzero(inner) < np.count_nonzero(area):
        blended = _reflectance(host, donor, mask)
    else:
        blended = _poisson(host, donor, area, _POISSON[way])
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    weight = np.clip((FEATHER_PX + 1 - distance) / FEATHER_PX, 0, 1)
    return _grey(np.asarray(host + weight * (blended - host), np.float32))


def changed(before: Pixels, after: Pixels) -> Flags:
    """The pixels with a visible change, bool [h, w]: a change larger than the grain of the surface.

    Gaps between visible pixels count as visible too, because grain causes gaps inside a defect.
    """
    difference = cv2.GaussianBlur(after.astype(np.float32) - before, (0, 0), 1.0)
    fine = cv2.GaussianBlur(before.astype(np.float32), (0, 0), 1.0)
    grain = float(np.std(fine - cv2.GaussianBlur(fine, (0, 0), 3.0)))
    visible = _grown(np.abs(difference) > max(_LEAST_CHANGE, grain), _SLACK_PX)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_GAP_PX, _GAP_PX))
    return np.asarray(cv2.morphologyEx(visible.astype(np.uint8), cv2.MORPH_CLOSE, kernel), np.uint8) > 0


def filled(pixels: Pixels, known: Flags) -> Field:
    """Fill unknown pixels smoothly from the known pixels around them, float [h, w].

    Means over coarser and coarser grids fill what finer ones leave open (pull-push: Gortler et al., The
    Lumigraph, 1996). Without known pixels, the result is the mean grey level.
    """
    weights = known.astype(np.float32)
    return _pulled(pixels.astype(np.float32) * weights, weights, float(pixels.mean()))


def _pulled(sums: Field, weights: Field, mean: float) -> Field:
    values = np.divide(sums, weights, out=np.full_like(sums, mean), where=weights > 1e-3)
    if min(sums.shape) < 2 or bool((weights > 0.99).all()):
        return values
    coarse = _pulled(cv2.pyrDown(sums).astype(np.float32), cv2.pyrDown(weights).astype(np.float32), mean)
    spread = cv2.resize(coarse, sums.shape[::-1], interpolation=cv2.INTER_LINEAR)
    trust = np.clip(weights, 0, 1)
    return np.asarray(trust * values + (1 - trust) * spread, np.float32)


def _reflectance(host: Pixels, donor: Donor, mask: Flags) -> Field:
    open_area = _grown(mask, FEATHER_PX)  # the soft edge of the defect is not clean surface
    donor_surface = filled(donor.pixels, ~open_area & donor.clean)
    relative = donor.pixels.astype(np.float32) / np.maximum(donor_surface, _DARKEST)
    # The donor has its own grain, so the host's grain is removed there.
    return np.asarray(filled(host, ~_grown(mask, 1)) * relative, np.float32)


def _poisson(host: Pixels, donor: Donor, area: Flags, flags: int) -> Field:
    gain = np.clip(gain_between(host, donor), 1 / MOST_GAIN, MOST_GAIN)
    source = _grey(donor.pixels.astype(np.float32) * np.float32(gain))
    left, top, width, height = cv2.boundingRect(area.astype(np.uint8))
    centre = (left + width // 2, top + height // 2)  # OpenCV moves the mask's centre here: no move
    colours, surface = (cv2.cvtColor(each, cv2.COLOR_GRAY2BGR) for each in (source, host))
    cloned = cv2.seamlessClone(colours, surface, area.astype(np.uint8) * 255, centre, flags)
    return np.asarray(cloned[..., 0], np.float32)


def _grown(mask: Flags, pixels: int) -> Flags:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel), np.uint8) > 0


def _grey(values: Field) -> Pixels:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)

"""Blending a defect into good surface: Poisson in the gradient domain, or relative reflectance at borders."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.sample import Pixels
from training.transplant.donors import Donor, Flags

Way = Literal["normal", "mixed", "reflectance"]
Field = NDArray[np.float32]

FEATHER_PX = 4  # a blend fades out this far from the defect; beyond, the image is the good one's
MOST_GAIN = 2.5  # exposures further apart are not matched: what one camera lost, no gain brings back
_POISSON = {"normal": cv2.NORMAL_CLONE, "mixed": cv2.MIXED_CLONE}
_LEAST_CHANGE = 3.0  # grey levels that an eye may see on an even surface
_SLACK_PX = 2  # of a visible pixel
_GAP_PX = 15  # a side
_DARKEST = 4.0  # grey levels; ratios to darker surface are noise


def gain_between(host: Pixels, donor: Donor) -> float:
    """Exposure of the host relative to the donor's image, over clean surface; 1 where there is none."""
    if not donor.clean.any():
        return 1.0
    return float((host[donor.clean].mean() + 1) / (donor.pixels[donor.clean].mean() + 1))


def blend(host: Pixels, donor: Donor, way: Way) -> Pixels:
    """Return the host's window with the donor's defect in it, uint8 [h, w] like both.

    `reflectance`: the defect's brightness relative to the surface it lay on, times that of the host. `normal`
    and `mixed`: Poisson blending (Pérez et al., Poisson Image Editing, 2003) after matching the exposure,
    with the donor's gradients, or the stronger of both; where the blend would reach the window's border,
    which the equation needs as known surface, reflectance is used instead.
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
    """Where a change is visible, bool [h, w]: it stands out of the surface's own grain.

    Gaps between visible pixels, as grain makes them in the midst of a defect, count as visible too.
    """
    difference = cv2.GaussianBlur(after.astype(np.float32) - before, (0, 0), 1.0)
    fine = cv2.GaussianBlur(before.astype(np.float32), (0, 0), 1.0)
    grain = float(np.std(fine - cv2.GaussianBlur(fine, (0, 0), 3.0)))
    visible = _grown(np.abs(difference) > max(_LEAST_CHANGE, grain), _SLACK_PX)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_GAP_PX, _GAP_PX))
    return np.asarray(cv2.morphologyEx(visible.astype(np.uint8), cv2.MORPH_CLOSE, kernel), np.uint8) > 0


def filled(pixels: Pixels, known: Flags) -> Field:
    """Surface as it would be without what is not known, float [h, w]: smooth from the known pixels around it.

    Means over ever coarser grids fill what finer ones leave open (pull-push: Gortler et al., The Lumigraph,
    1996). All unknown gives the mean grey.
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
    open_area = _grown(mask, FEATHER_PX)  # the soft edge of the defect is no clean surface
    donor_surface = filled(donor.pixels, ~open_area & donor.clean)
    relative = donor.pixels.astype(np.float32) / np.maximum(donor_surface, _DARKEST)
    # The donor brings its own grain: times the host's grain there would be too much of it.
    return np.asarray(filled(host, ~_grown(mask, 1)) * relative, np.float32)


def _poisson(host: Pixels, donor: Donor, area: Flags, flags: int) -> Field:
    gain = np.clip(gain_between(host, donor), 1 / MOST_GAIN, MOST_GAIN)
    source = _grey(donor.pixels.astype(np.float32) * np.float32(gain))
    left, top, width, height = cv2.boundingRect(area.astype(np.uint8))
    centre = (left + width // 2, top + height // 2)  # OpenCV moves the mask's middle there: it stays
    colours, surface = (cv2.cvtColor(each, cv2.COLOR_GRAY2BGR) for each in (source, host))
    cloned = cv2.seamlessClone(colours, surface, area.astype(np.uint8) * 255, centre, flags)
    return np.asarray(cloned[..., 0], np.float32)


def _grown(mask: Flags, pixels: int) -> Flags:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel), np.uint8) > 0


def _grey(values: Field) -> Pixels:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)

"""Draws one procedural defect with its exact mask on any grey image."""

import math

import cv2
import numpy as np

from training.data.sample import Pixels, Size
from training.data.synthesis.looks import DARK_SHARE, Window, look_of
from training.data.synthesis.noise import Field, Flags, Random, log_uniform, white_noise
from training.data.synthesis.shapes import defect_mask

DEFECTS: tuple[str, ...] = ("scratch", "crack", "pit", "inclusion", "stain", "dent", "fray", "uneven")
MIN_SIDE_PX = 32
EDGE_PX = 2  # a defect's soft edge reaches at most this far beyond its mask
LEAST_GREY_LEVELS, MOST_GREY_LEVELS = 7.0, 70.0  # bounds of the visibility floor
LEAST_OF_TEXTURE = 0.6  # smallest contrast of a defect, as a share of the texture's standard deviation
MOST_CONTRAST = 4.0  # largest contrast, as a multiple of the visibility floor
ROSE_RATIO = 5.0  # contrast-to-noise ratio from which an object is detected (Rose criterion)
_CORRELATED_PX = 9  # area of one grain of texture
_MARGIN_PX = 16  # surface around a defect on which texture and noise are measured
_ATTEMPTS = 20  # masks drawn before giving up
_REACH = np.ones((2 * EDGE_PX + 1, 2 * EDGE_PX + 1), np.uint8)


def draw_defect(
    rng: Random, pixels: Pixels, defect_class: str, part: Flags | None = None
) -> tuple[Pixels, Flags]:
    """Draw one defect of a class of DEFECTS onto an image.

    `pixels` is grey uint8 [H, W] with sides of at least MIN_SIDE_PX; it is not modified. `part` (bool
    [H, W]) is where defects may lie; None means everywhere. Returns the image with the defect and its
    mask, bool [H, W], never empty. Pixels farther than EDGE_PX from the mask are unchanged; in the mask
    the change is at least `least_change`. Raises ValueError for an unknown class, an image that is too
    small, or if `part` has no room for the defect.
    """
    if defect_class not in DEFECTS:
        raise ValueError(f"unknown defect class {defect_class!r}; known classes: {', '.join(DEFECTS)}")
    if pixels.ndim != 2 or min(pixels.shape) < MIN_SIDE_PX:
        raise ValueError(
            f"an image of shape {pixels.shape} cannot be drawn on; {MIN_SIDE_PX} px a side are needed"
        )
    for _ in range(_ATTEMPTS):
        mask = defect_mask(rng, _size(pixels), defect_class, part)
        if mask.any():
            drawn, mask = _drawn(rng, pixels, mask, defect_class)
            if mask.any():
                return drawn, mask
    raise ValueError(f"there is no room for a {defect_class} in the part that may be drawn on")


def least_change(pixels: Pixels, mask: Flags) -> float:
    """The visibility floor: smallest RMS change in grey levels of a defect inside its mask.

    A defect is visible on texture if contrast * sqrt(area) / (noise * sqrt(area of a grain)) is at least
    about 5: A. Rose, J. Opt. Soc. Am. 38, 196 (1948). The area is that of the smallest connected piece;
    for a line it is limited to a section eight times as long as wide.
    """
    place = _surroundings(mask)
    inside = mask[place]
    depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 3)
    return _floor(inside, float(depth.max()), _texture(pixels[place].astype(np.float32)))


def _floor(mask: Flags, deepest: float, texture: float) -> float:
    _, _, pieces, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    area = min(float(pieces[1:, cv2.CC_STAT_AREA].min()), 8 * (2 * deepest) ** 2)
    needed = ROSE_RATIO * math.sqrt(_CORRELATED_PX / area) * texture
    return min(max(needed, LEAST_OF_TEXTURE * texture, LEAST_GREY_LEVELS), MOST_GREY_LEVELS)


def _drawn(rng: Random, pixels: Pixels, mask: Flags, defect_class: str) -> tuple[Pixels, Flags]:
    """The image with the defect and the visible part of its mask, which is empty if none is visible."""
    place = _surroundings(mask)
    crop, inside = pixels[place], mask[place]
    before = crop.astype(np.float32)
    depth = np.asarray(cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 3), np.float32)
    window = Window(before, inside, depth, _texture(before), _grain(before))
    floor = _floor(inside, float(depth.max()), window.texture)
    look = look_of(rng, window, defect_class)
    fixed = look.cover * (cv2.blur(before, (15, 15)) - before)
    fixed += look.cover * window.grain * white_noise(rng, _size(crop))
    if look.texture is not None:
        fixed += look.texture
    level = look.level / max(_root_mean_square(look.level[inside]), 1e-3)
    contrast = floor * log_uniform(rng, 1.1, MOST_CONTRAST)
    sign = _sign(rng, before[inside], contrast, DARK_SHARE[defect_class])
    softness = rng.uniform(0.5, 1.1)
    result = np.array(pixels)
    for _ in range(6):
        change = fixed + np.float32(sign * contrast) * level
        drawn = _blended(before, change, inside, softness)
        if _root_mean_square(drawn[inside].astype(np.float32) - before[inside]) >= floor:
            seen = _seen_pieces(drawn, before, inside, floor / 2)
            result[place] = drawn if seen is inside else _blended(before, change, seen, softness)
            kept = np.zeros(mask.shape, np.bool_)
            kept[place] = seen
            return result, kept
        contrast *= 1.4
    return result, np.zeros(mask.shape, np.bool_)


def _sign(rng: Random, levels: Field, contrast: float, dark_share: float) -> float:
    """-1 for a dark defect, 1 for a bright one; drawn at random, swapped if it would clip."""
    sign = -1.0 if rng.random() < dark_share else 1.0
    mean = float(levels.mean())
    room, other = (mean, 255 - mean) if sign < 0 else (255 - mean, mean)
    return -sign if room < 1.2 * contrast and other > room else sign


def _blended(before: Field, change: Field, mask: Flags, softness: float) -> Pixels:
    blend = cv2.GaussianBlur(mask.astype(np.float32), _REACH.shape, softness)
    return np.asarray(np.clip(np.rint(before + blend * change), 0, 255), np.uint8)


def _seen_pieces(drawn: Pixels, before: Field, mask: Flags, least: float) -> Flags:
    """The mask without connected pieces whose RMS change is below `least` grey levels."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8))
    if count == 2:
        return mask
    squares = np.bincount(labels.ravel(), np.square(drawn - before).ravel(), count)
    seen = squares >= least**2 * np.bincount(labels.ravel(), minlength=count)
    seen[0] = False
    return mask if seen[1:].all() else np.asarray(seen[labels])


def _surroundings(mask: Flags) -> tuple[slice, slice]:
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    rows = slice(max(0, y - _MARGIN_PX), y + height + _MARGIN_PX)
    return rows, slice(max(0, x - _MARGIN_PX), x + width + _MARGIN_PX)


def _texture(grey: Field) -> float:
    """Standard deviation of the image after removal of slow brightness changes."""
    return float(np.std(grey - cv2.blur(grey, (31, 31))))


def _grain(grey: Field) -> float:
    """Estimated standard deviation of the noise, at most 6 (Immerkaer, CVIU 64, 300 (1996))."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    return min(6.0, math.sqrt(math.pi / 2) / 6 * float(np.abs(cv2.filter2D(grey, -1, kernel)).mean()))


def _root_mean_square(values: Field) -> float:
    return math.sqrt(float(np.mean(np.square(values))))


def _size(pixels: Pixels) -> Size:
    return pixels.shape[0], pixels.shape[1]

"""Donors: defects cut from marked images, with the surface around them and the image sides they touch."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.pictures import resize_bits
from training.data.sample import MAX_CLASSES, Bits, Pixels, Size, class_mask, counted, defects

Flags = NDArray[np.bool_]

LEAST_AREA_PX = 4  # smaller regions are drawing errors
JOINED_PX = 5  # regions closer than this are one defect, such as a crack with gaps in its mask
_LEAST_MARGIN_PX, _MOST_MARGIN_PX = 16, 48
_SCALES = (0.85, 1.2)
_TILT_DEGREES = 8.0
_STRETCH = 1.25  # largest factor to stretch a defect from side to side to another image's size


class Marked(NamedTuple):
    """A defective image: grey uint8 [H, W], class bits [H, W], and its group (part)."""

    pixels: Pixels
    bits: Bits
    group: str


class Sides(NamedTuple):
    """The sides of its image that a cut reaches."""

    top: bool
    right: bool
    bottom: bool
    left: bool


@dataclass(frozen=True)
class Donor:
    """One defect with a margin of surface: grey uint8 [h, w], class bits [h, w] of this defect alone.

    `clean` (bool [h, w]) is surface without any defect. A defect whose margin reaches a side of its image
    keeps its distance to that side on other images too, because a break belongs at the edge of a part.
    """

    pixels: Pixels
    bits: Bits
    clean: Flags
    sides: Sides
    group: str

    def varied(self, rng: np.random.Generator) -> "Donor":
        """Return it randomly flipped, rotated and scaled; one at a side is not tilted, to stay there."""
        donor = self
        top, right, bottom, left = donor.sides
        if rng.random() < 0.5:
            donor = donor._changed(np.fliplr, Sides(top, left, bottom, right))
        top, right, bottom, left = donor.sides
        if rng.random() < 0.5:
            donor = donor._changed(np.flipud, Sides(bottom, right, top, left))
        top, right, bottom, left = donor.sides
        if rng.random() < 0.25:
            donor = donor._changed(np.rot90, Sides(right, bottom, left, top))  # counter-clockwise
        if not any(donor.sides):
            donor = donor._tilted(float(rng.uniform(-_TILT_DEGREES, _TILT_DEGREES)))
        height, width = donor.pixels.shape
        scale = rng.uniform(*_SCALES)
        return donor._resized((max(1, round(height * scale)), max(1, round(width * scale))))

    def fitted(self, size: Size) -> "Donor | None":
        """Return it for an image of that size, stretched if it spans the image; None if it does not fit."""
        height, width = self.pixels.shape
        fitted_height = _fitted_side(height, size[0], self.sides.top and self.sides.bottom)
        fitted_width = _fitted_side(width, size[1], self.sides.left and self.sides.right)
        if fitted_height is None or fitted_width is None:
            return None
        return self._resized((fitted_height, fitted_width))

    def _changed(self, change: Callable[[Any], Any], sides: Sides) -> "Donor":
        pixels, bits, clean = (
            np.ascontiguousarray(change(each)) for each in (self.pixels, self.bits, self.clean)
        )
        return replace(self, pixels=pixels, bits=bits, clean=clean, sides=sides)

    def _tilted(self, degrees: float) -> "Donor":
        height, width = self.pixels.shape
        turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)

        def warp(values: NDArray[Any], flags: int, border: int) -> NDArray[Any]:
            return np.asarray(cv2.warpAffine(values, turn, (width, height), flags=flags, borderMode=border))

        return replace(
            self,
            pixels=warp(self.pixels, cv2.INTER_CUBIC, cv2.BORDER_REFLECT_101),
            bits=warp(self.bits, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT),
            clean=warp(self.clean.astype(np.uint8), cv2.INTER_NEAREST, cv2.BORDER_CONSTANT) > 0,
        )

    def _resized(self, size: Size) -> "Donor":
        if size == self.pixels.shape:
            return self

        def resize(values: NDArray[Any], interpolation: int) -> NDArray[Any]:
            return np.asarray(cv2.resize(values, size[::-1], interpolation=interpolation))

        return replace(
            self,
            pixels=resize(self.pixels, cv2.INTER_CUBIC),  # linear interpolation would blur the grain
            bits=resize_bits(self.bits, size),
            clean=resize(self.clean.astype(np.uint8), cv2.INTER_NEAREST) > 0,
        )


def cut_donors(defective: Iterable[Marked]) -> list[Donor]:
    """Cut every marked defect from the images, in order; regions below LEAST_AREA_PX are ignored."""
    return [donor for image in defective for donor in _cut(image)]


def shown_classes(bits: Bits) -> list[int]:
    """The numbers of the classes in class bits."""
    union = np.bitwise_or.reduce(bits, axis=None)
    return [number for number in range(1, MAX_CLASSES + 1) if class_mask(union, number)]


def regions(bits: Bits) -> Iterator[Flags]:
    """Yield the mask of each defect, bool [H, W]; regions closer than JOINED_PX are one defect."""
    marked = defects(bits) & counted(bits)
    count, labels = cv2.connectedComponents(_joined(marked))
    for number in range(1, count):
        region = (labels == number) & marked
        if np.count_nonzero(region) >= LEAST_AREA_PX:
            yield region


def _cut(image: Marked) -> Iterator[Donor]:
    clean = _joined(image.bits > 0) == 0
    height, width = clean.shape
    for region in regions(image.bits):
        left, top, wide, high = cv2.boundingRect(region.astype(np.uint8))
        margin = int(np.clip(max(wide, high) // 2, _LEAST_MARGIN_PX, _MOST_MARGIN_PX))
        rows = slice(max(0, top - margin), min(height, top + high + margin))
        columns = slice(max(0, left - margin), min(width, left + wide + margin))
        yield Donor(
            pixels=image.pixels[rows, columns],
            bits=np.where(region, image.bits, np.uint16(0))[rows, columns],
            clean=clean[rows, columns],
            sides=Sides(rows.start == 0, columns.stop == width, rows.stop == height, columns.start == 0),
            group=image.group,
        )


def _joined(marked: Flags) -> Pixels:
    kernel = np.ones((JOINED_PX, JOINED_PX), np.uint8)
    return np.asarray(cv2.dilate(marked.astype(np.uint8), kernel), np.uint8)


def _fitted_side(length: int, available: int, spans: bool) -> int | None:
    """The length of a donor's side in an image with `available` pixels; None if it does not fit."""
    if spans:
        return available if 1 / _STRETCH <= available / length <= _STRETCH else None
    return length if length <= available else None

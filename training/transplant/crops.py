"""What the plausibility filter looks at: squares around real and generated defects, and of good surface."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from training.data.sample import Pixels
from training.transplant.candidates import DRAWN, Generator
from training.transplant.donors import Flags, Marked, regions

LEAST_SIDE_PX = 64
_SHARE_OF_DEFECT = 1.5  # a square's side, of the defect's longer one
_ATTEMPTS = 10


@dataclass(frozen=True)
class Crops:
    """Grey uint8 squares and the group of each: no fold of a cross-validation divides a group."""

    pixels: list[Pixels]
    groups: list[str]

    def joined(self, other: "Crops") -> "Crops":
        """Both, one after the other."""
        return Crops(self.pixels + other.pixels, self.groups + other.groups)


def real_crops(defective: Sequence[Marked]) -> Crops:
    """One square around every real defect."""
    crops = Crops([], [])
    for picture in defective:
        for region in regions(picture.bits):
            crops.pixels.append(around(picture.pixels, region))
            crops.groups.append(picture.group)
    return crops


def generated_crops(
    generator: Generator, good: Sequence[Pixels], count: int
) -> tuple[list[int], Crops, Crops]:
    """Make candidates 0 ... `count` - 1; return the numbers of those made, their squares and the same before.

    Both have the group of the defect's donor, so that no classifier judges copies of a donor it has seen.
    """
    numbers, generated, before = [], Crops([], []), Crops([], [])
    for number, candidate in generator.candidates(range(count)):
        group = f"{DRAWN}-{number}" if candidate.group == DRAWN else candidate.group
        mask = candidate.bits > 0
        numbers.append(number)
        for crops, pixels in ((generated, candidate.pixels), (before, good[candidate.host])):
            crops.pixels.append(around(pixels, mask))
            crops.groups.append(group)
    return numbers, generated, before


def clean_crops(defective: Sequence[Marked], seed: int) -> Crops:
    """One square of each defective image that shows no defect, where there is room for one.

    Without them the surface of defective parts, not the defect, could tell real from generated.
    """
    rng = np.random.default_rng(seed)
    crops = Crops([], [])
    for picture in defective:
        marked = picture.bits > 0
        for _ in range(_ATTEMPTS):
            spot = np.zeros_like(marked)
            spot[tuple(int(rng.integers(side)) for side in marked.shape)] = True
            if not around(marked.view(np.uint8), spot).any():
                crops.pixels.append(around(picture.pixels, spot))
                crops.groups.append(picture.group)
                break
    return crops


def around(pixels: Pixels, mask: Flags) -> Pixels:
    """Cut the square around a defect as far as the image goes, LEAST_SIDE_PX or more a side."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    side = max(LEAST_SIDE_PX, round(_SHARE_OF_DEFECT * max(width, height)))
    spans = []
    for start, length, available in ((top, height, pixels.shape[0]), (left, width, pixels.shape[1])):
        first = min(max(0, start + length // 2 - side // 2), max(0, available - side))
        spans.append(slice(first, first + side))
    return pixels[spans[0], spans[1]]

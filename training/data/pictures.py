"""Training images: decoded into memory, or generated on demand."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from training.config import GeneratedConfig, ModelConfig
from training.data.generators import Generator
from training.data.sample import IGNORED_NUMBER, MAX_CLASSES, Bits, Sample, Size, class_bit, class_mask

Pixels = NDArray[np.uint8]

GOOD = -1
UNMARKED = 0  # defective with an image-level label only
TRAINING_SEEDS = 10**9  # first seed of generated training images
LEAST_COVERAGE = 1e-3  # above float32 rounding errors of cv2, below one pixel of 16 x 16

KEPT_SHARE = 0.45  # share of the highest coverage nearby; with 0.5, some thin oblique lines break


@dataclass(frozen=True)
class Picture:
    """A decoded sample at the trained pixel scale; `bits` is None if no pixel is marked or ignored."""

    pixels: Pixels
    bits: Bits | None
    defective: bool

    @property
    def known(self) -> bool:
        """Whether the mask is known; it is not for a defective image with an image-level label only."""
        return self.bits is not None or not self.defective


class Pictures(Protocol):
    """Images to sample from, in memory or generated on demand."""

    @property
    def strata(self) -> list[int]:
        """Of each image GOOD, UNMARKED or the number of the rarest class that it shows."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: int) -> Picture:
        """The image of that index."""


class LoadedPictures(list[Picture]):
    """Images in memory."""

    @property
    def strata(self) -> list[int]:
        """Of each image GOOD, UNMARKED or the number of the rarest class that it shows."""
        shown = [_shown(picture) for picture in self]
        counts = Counter(number for numbers in shown for number in numbers)
        return [min(numbers, key=lambda number: (counts[number], number)) for numbers in shown]


class GeneratedPictures:
    """Images generated on demand from their index; defective ones come first, classes alternate."""

    def __init__(self, generator: Generator, config: GeneratedConfig, seed: int, model: ModelConfig) -> None:
        self._generator = generator
        self._count = config.pictures
        self._defective = round(config.pictures * config.defective_share)
        self._seed = TRAINING_SEEDS + seed * 10**7
        self._scale = model.pixel_scale
        self._names = tuple(generator.numbers)

    @property
    def strata(self) -> list[int]:
        """For each image, GOOD or its class number."""
        return [
            self._generator.numbers[name] if (name := self._class(index)) else GOOD
            for index in range(self._count)
        ]

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    def __getitem__(self, index: int) -> Picture:
        """Generate the image of that index."""
        name = self._class(index)
        pixels, bits = self._generator.picture(self._seed + index, name)
        return _scaled(Picture(pixels, bits if name else None, name is not None), self._scale)

    def _class(self, index: int) -> str | None:
        return self._names[index % len(self._names)] if index < self._defective else None


class Joined:
    """Several collections of images as one."""

    def __init__(self, *parts: Pictures) -> None:
        self._parts = parts

    @property
    def strata(self) -> list[int]:
        """The strata of all parts, in order."""
        return [stratum for part in self._parts for stratum in part.strata]

    def __len__(self) -> int:
        """The number of images in all parts."""
        return sum(len(part) for part in self._parts)

    def __getitem__(self, index: int) -> Picture:
        """The image of that index, counted through all parts."""
        for part in self._parts:
            if index < len(part):
                return part[index]
            index -= len(part)
        raise IndexError(index)


def load_pictures(samples: Iterable[Sample], pixel_scale: float) -> LoadedPictures:
    """Decode samples into memory, resized to the trained pixel scale."""
    return LoadedPictures(_scaled(_decoded(sample), pixel_scale) for sample in samples)


def _shown(picture: Picture) -> list[int]:
    """GOOD, UNMARKED or the numbers of the classes that an image shows."""
    if not picture.defective:
        return [GOOD]
    if picture.bits is None:
        return [UNMARKED]
    union = np.bitwise_or.reduce(picture.bits, axis=None)
    return [number for number in range(1, MAX_CLASSES + 1) if class_mask(union, number)]


def _decoded(sample: Sample) -> Picture:
    pixels = sample.pixels()
    bits = sample.class_bits((pixels.shape[0], pixels.shape[1]))
    return Picture(pixels, bits if sample.defective or sample.ignores else None, sample.defective)


def _scaled(picture: Picture, pixel_scale: float) -> Picture:
    if pixel_scale == 1:
        return picture
    size = [max(1, round(side * pixel_scale)) for side in picture.pixels.shape[::-1]]
    interpolation = cv2.INTER_AREA if pixel_scale < 1 else cv2.INTER_LINEAR
    pixels = np.asarray(cv2.resize(picture.pixels, size, interpolation=interpolation), np.uint8)
    bits = picture.bits
    if bits is not None:
        bits = resize_bits(bits, (size[1], size[0]))
    return Picture(pixels, bits, picture.defective)


def resize_bits(bits: Bits, size: Size) -> Bits:
    """Resize class bits, uint16 [H, W], to (height, width) `size`, each class by itself.

    Enlarging uses the nearest pixel. Reducing keeps the area of regions; of a structure thinner than a
    pixel, the pixels with most coverage remain, so no region disappears.
    """
    height, width = size
    if height >= bits.shape[0] and width >= bits.shape[1]:
        return np.asarray(cv2.resize(bits, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.uint16)
    resized = np.zeros(size, np.uint16)
    shown = int(np.bitwise_or.reduce(bits, axis=None))
    for number in range(1, IGNORED_NUMBER + 1):
        if shown & int(class_bit(number)):
            resized[_smaller(class_mask(bits, number), size)] |= class_bit(number)
    return resized


def _smaller(mask: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    """The pixels with at least KEPT_SHARE of the highest coverage in their 3 x 3 neighbourhood.

    At the edge of a region, that is about half of a pixel, so regions keep their area. Along a thin
    line, it is about half of the line's coverage, so lines do not break.
    """
    coverage = cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    nearby = cv2.dilate(coverage, np.ones((3, 3), np.uint8))
    return np.asarray((coverage > LEAST_COVERAGE) & (coverage >= KEPT_SHARE * nearby))

"""Composes surface, tolerated marks, camera and defect into labelled images, reproducible from a seed.

A seed has two random streams: one for the surface and its image, one for the defect. It therefore gives
the same surface with and without a defect. The same seed with the same versions of numpy and OpenCV
gives the same image.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from training.data.sample import Bits, Pixels, Size, class_bit
from training.data.synthesis.defects import DEFECTS, MIN_SIDE_PX, draw_defect
from training.data.synthesis.marks import part_edges, tolerated_marks
from training.data.synthesis.noise import (
    Field,
    Random,
    blurred,
    coordinates,
    log_uniform,
    smooth_noise,
    white_noise,
)
from training.data.synthesis.surfaces import SURFACES, reflectance

SIDE_PX = 256
BLOCK = 16  # images are shuffled within blocks of this size
_SURFACE, _DEFECT, _ORDER = range(3)  # the random streams of a seed


@dataclass(frozen=True)
class Plan:
    """Parameters of one image of a set, for `generate_surface`."""

    seed: int
    defect_class: str | None
    surface: str


def generate_surface(
    seed: int, defect_class: str | None, surface: str | None = None, size: Size = (SIDE_PX, SIDE_PX)
) -> tuple[Pixels, Bits]:
    """Return one image, uint8 [H, W], and its class bits, uint16 [H, W], in the order of DEFECTS.

    `surface` is one of SURFACES; None draws one at random. `size` is (height, width) in pixels. The bits
    are all 0 if `defect_class` is None. Raises ValueError for an unknown class or surface or a side
    below MIN_SIDE_PX.
    """
    if surface is not None and surface not in SURFACES:
        raise ValueError(f"unknown surface {surface!r}; known surfaces: {', '.join(SURFACES)}")
    if defect_class is not None and defect_class not in DEFECTS:
        raise ValueError(f"unknown defect class {defect_class!r}; known classes: {', '.join(DEFECTS)}")
    if min(size) < MIN_SIDE_PX:
        raise ValueError(
            f"size {size[0]} x {size[1]} is too small; each side must be at least {MIN_SIDE_PX} px"
        )
    rng = _stream(seed, _SURFACE)
    drawn = SURFACES[int(rng.integers(len(SURFACES)))]
    beyond, part = part_edges(rng, size)
    pixels = photograph(rng, reflectance(rng, size, surface or drawn) * tolerated_marks(rng, size) * beyond)
    if defect_class is None:
        return pixels, np.zeros(size, np.uint16)
    pixels, mask = draw_defect(_stream(seed, _DEFECT), pixels, defect_class, part)
    return pixels, np.where(mask, class_bit(DEFECTS.index(defect_class) + 1), np.uint16(0))


@dataclass(frozen=True)
class SurfaceSet:
    """A set of `count` images; each depends only on the set's seed and its own index.

    count * defective_share images are defective, rounded, if `count` is a multiple of BLOCK; otherwise
    about as many. Classes and surfaces are used equally often. Workers may draw different parts of the
    set in any order. Raises ValueError for a count below 1, a negative seed or a share outside 0 to 1.
    """

    count: int
    seed: int
    defective_share: float = 0.25
    size: Size = (SIDE_PX, SIDE_PX)

    def __post_init__(self) -> None:
        """Check the parameters."""
        if self.count < 1:
            raise ValueError(f"a set of {self.count} images cannot be made; give 1 or more")
        if self.seed < 0:
            raise ValueError(f"the seed must be 0 or more, found {self.seed}")
        if not 0 <= self.defective_share <= 1:
            raise ValueError(f"the defective share must be from 0 to 1, found {self.defective_share}")

    def __len__(self) -> int:
        """The number of images."""
        return self.count

    def plan(self, index: int) -> Plan:
        """The parameters of image `index` (0 to count - 1); raises IndexError outside the set."""
        if not 0 <= index < self.count:
            raise IndexError(f"image {index} is not in a set of {self.count}")
        seed = int(np.random.SeedSequence([self.seed, index]).generate_state(1, np.uint64)[0])
        place = self._place(index)
        before, after = (math.floor(i * self.defective_share + 0.5) for i in (place, place + 1))
        if before == after:
            return Plan(seed, None, SURFACES[(place - before) % len(SURFACES)])
        turn, number = divmod(before, len(DEFECTS))
        return Plan(seed, DEFECTS[number], SURFACES[turn % len(SURFACES)])

    def __getitem__(self, index: int) -> tuple[Pixels, Bits]:
        """Image `index` and its class bits, like `generate_surface`; raises IndexError."""
        plan = self.plan(index)
        return generate_surface(plan.seed, plan.defect_class, plan.surface, self.size)

    def _place(self, index: int) -> int:
        """Position of the image in the sequence of classes: `index`, shuffled within its block.

        Each worker thus gets a mixture of classes, without a shuffled list of the whole set.
        """
        block, offset = divmod(index, BLOCK)
        return block * BLOCK + int(
            np.random.default_rng([self.seed, block, _ORDER]).permutation(BLOCK)[offset]
        )


def surfaces(count: int, seed: int, defective_share: float) -> Iterator[tuple[Pixels, Bits]]:
    """Yield the images and class bits of a SurfaceSet in order; raises ValueError as SurfaceSet does."""
    pictures = SurfaceSet(count, seed, defective_share)
    return (pictures[index] for index in range(count))


def _stream(seed: int, number: int) -> Random:
    return np.random.default_rng([seed, number])


def photograph(rng: Random, reflectance: Field) -> Pixels:
    """Return an image, uint8 [H, W], of a surface with random lighting, exposure, focus and noise."""
    shape = (reflectance.shape[0], reflectance.shape[1])
    along, across = coordinates(shape, rng.uniform(0, 2 * math.pi))
    half = np.float32(max(shape) / 2)
    light = 1 + np.float32(rng.normal(0, 0.18)) * along / half
    light -= np.float32(rng.uniform(0, 0.15)) * (np.square(along) + np.square(across)) / half**2
    light += np.float32(rng.uniform(0, 0.15)) * smooth_noise(rng, shape, 120, 120)
    contrast = log_uniform(rng, 0.6, 2.2)
    seen = np.maximum(light, 0.2) * np.maximum(1 + np.float32(contrast) * (reflectance - 1), 0.02)
    focus = rng.exponential(0.6)
    if focus > 0.35:
        seen = blurred(seen, min(focus, 1.6))
    noise = np.float32(log_uniform(rng, 0.6, 5)) * white_noise(rng, shape)
    grey = np.float32(rng.uniform(45, 205)) * seen + np.float32(rng.uniform(0, 20)) + noise
    return np.asarray(np.clip(np.rint(grey), 0, 255), np.uint8)

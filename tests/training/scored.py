"""Scored images made by hand."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.inspection.results import TileProbability
from training.data.sample import Bits, Size
from training.thresholds.predictions import Scored


@dataclass(frozen=True, eq=False)
class Label:
    """A label whose class bits are at hand."""

    group: str
    defective: bool
    bits: Bits | None
    ignores: bool = False
    name: str = "image"

    def class_bits(self, _: Size) -> Bits | None:
        """The class bits, of whatever size they are."""
        return self.bits


def scored(
    probability: NDArray[np.uint8],
    bits: Bits | None,
    defective: bool = True,
    group: str = "part",
    head: float = 0.5,
) -> Scored:
    """An image of even grey, seen as one tile, with probability maps uint8 [K, H, W]."""
    height, width = probability.shape[1:]
    tiles = (TileProbability(slice(0, height), slice(0, width), head),)
    return Scored(
        Label(group, defective, bits), tiles, probability, lambda: np.full((height, width), 128, np.uint8)
    )

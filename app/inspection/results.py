"""What an inspection gives: frozen records, filled once by the steps and read by everyone else."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["pass", "fail", "review"]
Rule = Literal["max_count", "max_area", "max_length", "head_without_mask"]
Unit = Literal["px", "px2", "mm", "mm2", "count", "probability"]


@dataclass(frozen=True, slots=True)
class Defect:
    """One connected region of one defect class.

    `bbox` is (x, y, width, height) in whole pixels; `centroid` is (x, y) where (0, 0) is the middle of the
    first pixel. Length and width are the sides of the smallest rotated rectangle around the region, so a
    single pixel measures 1 x 1. The mm fields are None where no pixel pitch is known.
    """

    defect_class: str
    score: float
    area_px: int
    area_mm2: float | None
    length_px: float
    length_mm: float | None
    width_px: float
    width_mm: float | None
    bbox: tuple[int, int, int, int]
    centroid: tuple[float, float]
    touches_border: bool


@dataclass(frozen=True, slots=True)
class Reason:
    """One rule that decided the verdict: what was measured, and the limit it went beyond."""

    rule: Rule
    defect_class: str | None
    measured: float
    limit: float
    unit: Unit


@dataclass(frozen=True, slots=True)
class MeasuredDice:
    """Dice against a reference mask; `per_class` is None where the reference tells no classes apart."""

    any_defect: float
    per_class: dict[str, float] | None


@dataclass(frozen=True, slots=True)
class EstimatedDice:
    """Dice expected without a reference mask; where `any_defect` is None, `reason` says why."""

    any_defect: float | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """The upright picture's size in pixels, and the SHA-256 of the bytes it came in."""

    width: int
    height: int
    sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the model says of a whole picture, before any threshold.

    `probability` is uint8 [K, H, W] (255 is certain), `image_probability` the highest over the tiles.
    """

    probability: NDArray[np.uint8]
    image_probability: float


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """One image judged.

    `label_map` is uint8 [H, W]: 0 is background, k the k-th of `classes`. `image_probability` is how
    sure the model is of any defect, `image_threshold` what that was held against; `recipe` is the recipe's
    name.
    """

    verdict: Verdict
    reasons: tuple[Reason, ...]
    defects: tuple[Defect, ...]
    label_map: NDArray[np.uint8]
    classes: tuple[str, ...]
    image_probability: float
    image_threshold: float
    measured_dice: MeasuredDice | None
    estimated_dice: EstimatedDice
    image: ImageInfo
    timings_ms: dict[str, float]
    recipe: str

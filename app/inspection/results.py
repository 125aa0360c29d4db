"""What an inspection gives: frozen records, filled once by the steps and read by everyone else."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["pass", "fail", "review"]
Severity = Literal["minor", "major", "critical"]
Rule = Literal[
    "max_count",
    "max_area",
    "max_length",
    "max_width",
    "max_total_area",
    "max_density",
    "min_distance",
    "border",
    "head_without_mask",
    "low_confidence",
    "blur",
    "exposure",
    "saturation",
    "size",
    "product",
    "part_not_found",
]
Unit = Literal["px", "px2", "mm", "mm2", "count", "probability", "ratio", "share", "grey_levels", "dice"]


@dataclass(frozen=True, slots=True)
class Defect:
    """One connected region, of the class with the largest summed probability in it.

    Each pixel counts for its most probable class. `score` is the highest probability of its pixels,
    `probability` how probable the region model finds it to be a defect, `runner_up` the class with the second
    largest sum. The last two are None for a mask drawn by hand, and `runner_up` where no pixel is of another
    class.
    `bbox` is (x, y, width, height) in whole pixels; `centroid` is (x, y) where (0, 0) is the middle of the
    first pixel. `length` is along the medial axis, `width` the diameter of the largest circle inside, so a
    single pixel measures 1 x 1; `mean_width` is the area over the length, `equivalent_diameter` that of the
    disc of the same area. `orientation_deg` is the long axis' angle, from 0 to below 180, counter-clockwise
    from the x axis as one looks at the picture. `nearest` is the gap between the outlines of this and the
    nearest other defect of any class, None where there is no other. The mm fields are None where no pixel
    pitch is known.
    """

    defect_class: str
    score: float
    area_px: int
    area_mm2: float | None
    length_px: float
    length_mm: float | None
    width_px: float
    width_mm: float | None
    mean_width_px: float
    mean_width_mm: float | None
    equivalent_diameter_px: float
    equivalent_diameter_mm: float | None
    orientation_deg: float
    nearest_px: float | None
    nearest_mm: float | None
    bbox: tuple[int, int, int, int]
    centroid: tuple[float, float]
    touches_border: bool
    probability: float | None = None
    runner_up: str | None = None


@dataclass(frozen=True, slots=True)
class ZoneDefects:
    """The defects of one zone of a recipe, as measured inside it.

    `parents` names for each the defect of the whole picture it is a piece of, by its place in that list.
    """

    name: str
    defects: tuple[Defect, ...]
    parents: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Findings:
    """All that a recipe judges: the defects in its regions of interest, and those of each of its zones."""

    defects: tuple[Defect, ...]
    zones: tuple[ZoneDefects, ...] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """One rule that decided the verdict: what was measured, and the limit it went beyond.

    `zone` is None for a rule of the whole picture, `defect` the place in the list of defects, None where it
    is no single one. `verdict` is what the rule calls for by itself.
    """

    rule: Rule
    defect_class: str | None
    measured: float
    limit: float
    unit: Unit
    zone: str | None = None
    defect: int | None = None
    verdict: Literal["fail", "review"] = "review"


Polygon = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Part:
    """The part in one image, for a recipe whose `roi` it is; polygons of (x, y) in px.

    `outline` is the convex outline, `judged` what the recipe's margin leaves of it and all that is judged;
    both are None where the part is not found. `share` is that of the image inside the outline, 0 where none
    can be drawn.
    """

    found: bool
    share: float
    outline: Polygon | None
    judged: Polygon | None


@dataclass(frozen=True, slots=True)
class MeasuredDice:
    """Dice against a reference mask; `per_class` is None where the reference tells no classes apart."""

    any_defect: float
    per_class: dict[str, float] | None


@dataclass(frozen=True, slots=True)
class EstimatedDice:
    """Dice expected without a reference mask; where `any_defect` is None, `reason` says why.

    From `low` to `high` is the interval around it; both are None where the operating point in force has none.
    """

    any_defect: float | None
    reason: str | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """The upright picture's size in pixels, and the SHA-256 of the bytes it came in.

    `pixel_format` is that of a raw frame, None of a file.
    """

    width: int
    height: int
    sha256: str
    pixel_format: str | None = None


@dataclass(frozen=True, slots=True)
class Looked:
    """What the input gate says of a picture: its scores by name, and why it must not be judged, if so."""

    scores: Mapping[str, float]
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class TileProbability:
    """The image-level probability of one tile, and the rows and columns of the picture that it covers."""

    rows: slice
    columns: slice
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class TileAnswers:
    """What model and input gate say of a whole picture but for its pixels, before any threshold.

    `tiles` has the image-level probability of each tile. `looked` is None where the bundle has no gate.
    """

    tiles: tuple[TileProbability, ...]
    looked: Looked | None

    @property
    def head_probability(self) -> float:
        """The highest image-level probability of the tiles."""
        return max(each.probability for each in self.tiles)


@dataclass(frozen=True, slots=True, eq=False)
class Prediction(TileAnswers):
    """A scan with what the model says of each pixel, uint8 [K, H, W] (255 is certain)."""

    probability: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """One image judged.

    `label_map` is uint8 [H, W]: 0 is background, k the k-th of `classes`. `image_probability` is the highest
    defect probability of its regions (0 without any), kept or not, and `image_threshold` what a region has to
    reach. `head_probability` is the model's image-level answer, `unexplained_probability` that of the tiles
    that the recipe judges and that show no defect (None without such a tile), `head_threshold` what makes it
    a review; `recipe` is the recipe's name. `gate_scores` is None where the bundle has no gate;
    `probability` is that of any defect, uint8 [H, W], and kept only where it was asked for; `part` is None
    unless the recipe's `roi` is the part.
    """

    verdict: Verdict
    reasons: tuple[Reason, ...]
    defects: tuple[Defect, ...]
    label_map: NDArray[np.uint8]
    classes: tuple[str, ...]
    image_probability: float
    image_threshold: float
    head_probability: float
    unexplained_probability: float | None
    head_threshold: float
    measured_dice: MeasuredDice | None
    estimated_dice: EstimatedDice
    image: ImageInfo
    timings_ms: dict[str, float]
    recipe: str
    gate_scores: Mapping[str, float] | None = None
    probability: NDArray[np.uint8] | None = None
    part: Part | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """An inspection and what it was made of; `pixels` are upright, uint8 [H, W] or [H, W, 3]."""

    pixels: NDArray[np.uint8]
    prediction: Prediction
    inspection: Inspection

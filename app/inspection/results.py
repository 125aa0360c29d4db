"""Result types of an inspection: frozen dataclasses, created once by the inspection steps."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
    "polarity",
    "grain",
    "size",
    "product",
    "part_not_found",
]
Extra = Literal["probability", "preview"]  # of an inspection, only on request
Unit = Literal["px", "px2", "mm", "mm2", "count", "probability", "ratio", "share", "grey_levels", "dice"]


@dataclass(frozen=True, slots=True)
class Defect:
    """One connected region, of the class with the largest summed probability in it.

    Each pixel counts for its most probable class. `score` is the highest probability of its pixels.
    `probability` is the region model's probability that the region is a defect. `runner_up` is the class
    with the second largest sum. The last two are None for a mask drawn by hand; `runner_up` is also None
    if no pixel has another class. `bbox` is (x, y, width, height) in whole pixels; `centroid` is (x, y)
    where (0, 0) is the centre of the first pixel. `length` is along the medial axis, `width` the
    diameter of the largest inscribed circle; a single pixel measures 1 x 1. `mean_width` is area /
    length, `equivalent_diameter` the diameter of the disc with the same area. `orientation_deg` is the
    angle of the long axis in [0, 180), counter-clockwise from the x axis as seen on the image. `nearest`
    is the gap between the outlines of this defect and the nearest other defect of any class; None if
    there is no other. The mm fields are None if no pixel pitch is known.
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

    `parents` has, for each of them, the index of the whole image's defect that it is a piece of.
    """

    name: str
    defects: tuple[Defect, ...]
    parents: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Findings:
    """The defects that a recipe evaluates: those in its regions of interest, and those of each zone."""

    defects: tuple[Defect, ...]
    zones: tuple[ZoneDefects, ...] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """One broken rule behind a verdict: the measured value and the limit.

    `zone` is None for a rule of the whole image. `defect` is the index in the list of defects; None if
    the rule is not about a single defect. `verdict` is the verdict that this rule alone would give.
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
    """The part in one image, for a recipe with `roi: part`; polygons of (x, y) in px.

    `outline` is the convex outline. `judged` is the outline shrunk by the recipe's margin: only this
    area is inspected. Both are None if the part is not found. `share` is the share of the image inside
    the outline, 0 if there is no outline.
    """

    found: bool
    share: float
    outline: Polygon | None
    judged: Polygon | None


@dataclass(frozen=True, slots=True)
class MeasuredDice:
    """Dice against a reference mask; `per_class` is None if the reference has no classes."""

    any_defect: float
    per_class: dict[str, float] | None


@dataclass(frozen=True, slots=True)
class EstimatedDice:
    """Dice estimated without a reference mask; if `any_defect` is None, `reason` says why.

    `low` to `high` is the interval around it; both are None if the operating point in force has none.
    """

    any_defect: float | None
    reason: str | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """Size of the upright image in pixels, and SHA-256 of the bytes received.

    `pixel_format` is that of a raw frame; None for a file.
    """

    width: int
    height: int
    sha256: str
    pixel_format: str | None = None


@dataclass(frozen=True, slots=True)
class Looked:
    """Result of the input gate: the image's scores by name, and a reason for each limit exceeded."""

    scores: Mapping[str, float]
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class TileProbability:
    """The image-level probability of one tile, and the rows and columns of the image that it covers."""

    rows: slice
    columns: slice
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class TileAnswers:
    """Answers of model and input gate for an image, before any threshold, without pixel maps.

    `tiles` has the image-level probability of each tile. `looked` is None if the bundle has no gate.
    """

    tiles: tuple[TileProbability, ...]
    looked: Looked | None

    @property
    def head_probability(self) -> float:
        """The highest image-level probability of the tiles."""
        return max(each.probability for each in self.tiles)


@dataclass(frozen=True, slots=True, eq=False)
class Prediction(TileAnswers):
    """The answers for a whole image with the probability maps, uint8 [K, H, W]; 255 is probability 1."""

    probability: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """The result of inspecting one image.

    `label_map` is uint8 [H, W]: 0 is background, k the k-th of `classes`. `image_probability` is the
    highest defect probability of all regions, kept or not (0 without a region); a region is a defect
    from `image_threshold` on. `head_probability` is the model's image-level answer.
    `unexplained_probability` is the highest one of the inspected tiles without a defect (None without
    such a tile); from `head_threshold` on it causes a review. `recipe` is the recipe's name.
    `gate_scores` is None if the bundle has no gate. `probability` is that of any defect, uint8 [H, W],
    kept only on request; so is `preview`, the image at most PREVIEW_PX long. `part` is None unless the
    recipe's `roi` is the part.
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
    preview: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """An inspection with its image and prediction; `pixels` are upright, uint8 [H, W] or [H, W, 3]."""

    pixels: NDArray[np.uint8]
    prediction: Prediction
    inspection: Inspection


class Timings:
    """Milliseconds spent per step of one inspection."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time spent in the `with` block to a step."""
        start = time.perf_counter()
        yield
        self.ms[name] = self.ms.get(name, 0.0) + (time.perf_counter() - start) * 1000

"""An artifact: one ONNX graph with the thresholds, calibration and gate fitted on its own answers."""

from bisect import bisect_right
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from app.inspection.bundle.calibration import ProbabilityCalibration
from app.inspection.bundle.region_model import RegionModel
from app.inspection.errors import RecipeInvalid
from app.inspection.rules.part_model import PartModel
from app.inspection.rules.recipe import Recipe
from app.inspection.rules.trade_off import Chosen, TradeOff, resolve
from app.inspection.types import BundlePart, Sha256, Share, Threshold


class ExpectedRates(BundlePart):
    """Escape and overkill rates measured at an operating point, with their intervals (low, high)."""

    split: str
    confidence: Share
    defective: Annotated[int, Field(ge=0)]
    good: Annotated[int, Field(ge=0)]
    escape_rate: Share
    escape_interval: tuple[Share, Share]
    overkill_rate: Share
    overkill_interval: tuple[Share, Share]


class DiceInterval(BundlePart):
    """Interval around the estimated Dice of a defective image, by the level of the estimate.

    For an estimate from `levels[k]` up to the next level, the true Dice differs by at most `margins[k]`
    in a share `coverage` of the cases. `pictures` and `groups` are the numbers of images and groups of
    `splits` it was fitted on. It holds for one operating point only.
    """

    coverage: Annotated[float, Field(gt=0, lt=1)]
    pictures: Annotated[int, Field(ge=1)]
    groups: Annotated[int, Field(ge=1)]
    splits: Annotated[tuple[str, ...], Field(min_length=1)] = ("calibration",)
    levels: Annotated[tuple[Share, ...], Field(min_length=1)]
    margins: tuple[Share, ...]

    @model_validator(mode="after")
    def _surer_is_no_wider(self) -> "DiceInterval":
        if len(self.levels) != len(self.margins):
            raise ValueError("levels and margins must have the same length")
        if self.levels[0] != 0 or any(low >= high for low, high in pairwise(self.levels)):
            raise ValueError("levels must begin with 0 and increase")
        if any(low < high for low, high in pairwise(self.margins)):
            raise ValueError("margins must not increase: no wider interval for a higher estimate")
        return self

    def around(self, estimate: float) -> tuple[float, float]:
        """The interval (low, high) around an estimate in 0..1; `low` never decreases with it."""
        margin = self.margins[bisect_right(self.levels, estimate) - 1]
        return max(0.0, estimate - margin), min(1.0, estimate + margin)


class OperatingPoint(BundlePart):
    """The thresholds of one artifact; `expected` is None only while a bundle is being built.

    Mask pixels are those whose any-defect probability reaches `pixel_threshold`. A connected region of
    at least `min_area_px` mask pixels is a defect if its probability by the region model, `regions`,
    reaches `image_threshold`. An image with a defect is defective. If a tile's image-level probability
    reaches `head_threshold` and the tile has no defect, the image is reviewed. `dice_interval` is None
    if there were too few images to fit it. `chosen` says how the image threshold was chosen, `trade_off`
    what other thresholds would cost. `parts` is the part model for several images of one view; None if
    there were too few parts to fit it.
    """

    pixel_threshold: Threshold
    min_area_px: Annotated[int, Field(ge=0)]
    regions: RegionModel
    image_threshold: Threshold
    head_threshold: Threshold
    expected: ExpectedRates | None = None
    dice_interval: DiceInterval | None = None
    chosen: Chosen | None = None
    trade_off: TradeOff | None = None
    parts: PartModel | None = None

    def for_recipe(self, recipe: Recipe) -> "OperatingPoint":
        """The operating point with the image threshold and least area that a recipe asks for.

        Raises RecipeInvalid if the trade-off has no such threshold.
        """
        changes: dict[str, float | None] = {}
        if recipe.operating_point is not None:
            try:
                changes["image_threshold"] = resolve(recipe.operating_point, self.trade_off)
            except RecipeInvalid as error:
                raise RecipeInvalid(f"recipe {recipe.name}: {error}") from error
        if recipe.least_area_px not in (None, self.min_area_px):
            changes["min_area_px"] = recipe.least_area_px
        if not changes:
            return self
        # expected rates, choice and Dice interval are valid only for the artifact's own point
        return self.model_copy(update=dict.fromkeys(("expected", "chosen", "dice_interval")) | changes)


GateScore = Literal[
    "sharpness",
    "brightness",
    "clipped_share",
    "border_contrast",
    "grain",
    "short_side_px",
    "long_side_px",
    "feature_distance",
]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class GateCheck(BundlePart):
    """One score of the input gate: its limits and its distribution on ordinary images.

    A limit of None is not checked. `edges` are the upper edges of the histogram's bins; `shares` is the
    share of ordinary images in each bin and, last, above the last edge.
    """

    score: GateScore
    low: Finite | None = None
    high: Finite | None = None
    edges: Annotated[tuple[Finite, ...], Field(min_length=1)]
    shares: tuple[Share, ...]

    @model_validator(mode="after")
    def _is_in_order(self) -> "GateCheck":
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("low must be at most high")
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError("edges must increase")
        if len(self.shares) != len(self.edges) + 1 or abs(sum(self.shares) - 1) > 1e-6:
            raise ValueError("shares must be one more than edges and must add up to 1")
        return self

    def broken(self, score: float) -> float | None:
        """The limit that a score exceeds; None if it is within the limits."""
        if self.low is not None and score < self.low:
            return self.low
        return self.high if self.high is not None and score > self.high else None


class Gate(BundlePart):
    """The input gate: an image unlike the training images gets the verdict `review`.

    `false_alarm_rate` is the share of ordinary images that the limits were set to reject, all checks
    together. `features` is a NumPy file with `mean` float32 [F] and `whitening` float32 [F, F], F being
    `feature_count`.
    """

    checks: Annotated[tuple[GateCheck, ...], Field(min_length=1)]
    false_alarm_rate: Share
    pictures: Annotated[int, Field(ge=1)]
    groups: Annotated[int, Field(ge=1)]
    features: str
    features_sha256: Sha256
    feature_count: Annotated[int, Field(ge=1, le=4096)]

    @model_validator(mode="after")
    def _each_score_once(self) -> "Gate":
        if len({each.score for each in self.checks}) != len(self.checks):
            raise ValueError("checks must have different scores")
        return self


class Artifact(BundlePart):
    """One ONNX graph, its execution providers by ONNX Runtime's names, and what was fitted on it.

    `reason` says why these providers use it. Thresholds, probability calibration and input gate belong
    to this graph: another precision rounds differently and gives other features.
    """

    name: Literal["fp32", "fp16", "int8"]
    file: str
    sha256: Sha256
    providers: Annotated[tuple[str, ...], Field(min_length=1)]
    reason: str = ""
    operating_point: OperatingPoint
    calibration: ProbabilityCalibration = ProbabilityCalibration()
    gate: Gate | None = None

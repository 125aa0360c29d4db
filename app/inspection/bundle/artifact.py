"""An artifact: one ONNX graph, and all that was learnt of its own answers."""

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
    """How far the true Dice of a defective picture may be from the estimated one, by the level of the latter.

    An estimate from `levels[k]` up to the next level is at most `margins[k]` off in a share `coverage` of the
    cases. It was fitted on so many `pictures` of so many `groups` of `splits`, and holds at one operating
    point only.
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
            raise ValueError("levels and margins must be equally many")
        if self.levels[0] != 0 or any(low >= high for low, high in pairwise(self.levels)):
            raise ValueError("levels must begin with 0 and rise")
        if any(low < high for low, high in pairwise(self.margins)):
            raise ValueError("margins must not rise, or a surer mask would have less sure a Dice")
        return self

    def around(self, estimate: float) -> tuple[float, float]:
        """The interval (low, high) around an estimate in 0..1; `low` never falls where the estimate rises."""
        margin = self.margins[bisect_right(self.levels, estimate) - 1]
        return max(0.0, estimate - margin), min(1.0, estimate + margin)


class OperatingPoint(BundlePart):
    """The thresholds in force for one artifact; `expected` is None only while a bundle is being made.

    Pixels whose any-defect probability reaches `pixel_threshold` are marked; connected regions of at least
    `min_area_px` of them are defects where the probability that `regions` gives them reaches
    `image_threshold`, and an image is defective if it shows a defect. Where a tile's image-level probability
    reaches `head_threshold` and no defect lies in it, the image is reviewed. `dice_interval` is None where
    too few images were there to state one. `chosen` says how the image threshold was chosen, `trade_off` what
    others would cost. `parts` judges parts seen in several images of one view, None where too few parts were
    there to fit it.
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
        """The point moved along its trade-off, and with another least area, where a recipe asks for it.

        Raises RecipeInvalid where the trade-off has no such point.
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
        # what was expected, chosen and held for Dice is true of the artifact's own point only
        return self.model_copy(update=dict.fromkeys(("expected", "chosen", "dice_interval")) | changes)


GateScore = Literal[
    "sharpness", "brightness", "clipped_share", "short_side_px", "long_side_px", "feature_distance"
]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class GateCheck(BundlePart):
    """One score of the input gate: what it must be within, and how it is distributed.

    A limit that is None does not exist. `edges` divide the score's range into bins, each with its upper edge;
    `shares` says how much of the ordinary pictures lay in each of these and above the last edge.
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
            raise ValueError("edges must rise")
        if len(self.shares) != len(self.edges) + 1 or abs(sum(self.shares) - 1) > 1e-6:
            raise ValueError("shares must be one more than edges, and 1 in all")
        return self

    def broken(self, score: float) -> float | None:
        """The limit that a score is beyond, None where it is within."""
        if self.low is not None and score < self.low:
            return self.low
        return self.high if self.high is not None and score > self.high else None


class Gate(BundlePart):
    """Which pictures are like those the model was trained on; others are not judged but sent to `review`.

    `false_alarm_rate` is the share of ordinary pictures that the limits were set to stop, all checks
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
            raise ValueError("checks must be of different scores")
        return self


class Artifact(BundlePart):
    """One ONNX graph, the execution providers (ONNX Runtime's names) it is meant for, what was learnt of it.

    `reason` says why these providers get it. Thresholds, probability calibration and input gate are of this
    graph's own answers: another precision rounds otherwise, and its features lie elsewhere.
    """

    name: Literal["fp32", "fp16", "int8"]
    file: str
    sha256: Sha256
    providers: Annotated[tuple[str, ...], Field(min_length=1)]
    reason: str = ""
    operating_point: OperatingPoint
    calibration: ProbabilityCalibration = ProbabilityCalibration()
    gate: Gate | None = None

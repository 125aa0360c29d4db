"""Golden samples: what a bundle's artifacts answered to known pictures, and how far they may be off."""

import hashlib
import json
from typing import Annotated

from pydantic import Field

from app.inspection.results import Verdict
from app.inspection.types import BundlePart, Level, Name, Sha256, Share, Threshold


class GoldenAnswer(BundlePart):
    """What one artifact answered to a golden sample when the bundle was made.

    `main_class` is the class with the largest area, None without a defect. `mean_levels` has for each class
    the mean level (of 255) in 4 x 4 cells of the picture, row by row. `feature_distance` is the input gate's.
    """

    artifact: str
    mask: str
    mask_sha256: Sha256
    verdict: Verdict
    image_probability: Share
    main_class: Name | None
    mean_levels: tuple[Annotated[tuple[Level, ...], Field(min_length=16, max_length=16)], ...]
    feature_distance: Annotated[float, Field(ge=0)] | None = None


class GoldenSample(BundlePart):
    """A picture with the label map, verdict and image probability the bundle must reproduce.

    An artifact with one of the `answers` must reproduce that instead.
    """

    image: str
    image_sha256: Sha256
    mask: str
    mask_sha256: Sha256
    verdict: Verdict
    image_probability: Share
    answers: tuple[GoldenAnswer, ...] = ()

    def answer(self, artifact: str) -> GoldenAnswer | None:
        """The artifact's own answer, None where the bundle has none of it."""
        return next((each for each in self.answers if each.artifact == artifact), None)


class GoldenSetting(BundlePart):
    """Where and with which thresholds an artifact gave its answers to the golden samples.

    Of everything that answers, or what is said of them, also depend on there are fingerprints: the operating
    point with its trade-off, expected rates and Dice interval; probability calibration; input gate; and the
    bundle's classes with their severities, and its input contract.
    """

    artifact: str
    execution_provider: str
    image_threshold: Threshold
    pixel_threshold: Threshold
    min_area_px: Annotated[int, Field(ge=0)]
    operating_point_sha256: Sha256
    calibration_sha256: Sha256
    gate_sha256: Sha256
    classes_sha256: Sha256
    input_sha256: Sha256


def fingerprint(*parts: BundlePart | None) -> str:
    """The SHA-256 of all values of parts that are not their defaults."""
    values = [part and part.model_dump(mode="json", exclude_defaults=True) for part in parts]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


class GoldenTolerance(BundlePart):
    """How far a golden sample may be missed, so that providers and artifacts can round differently."""

    min_mask_iou: Share = 0.95
    max_image_probability_difference: Share = 0.05
    max_level_difference: Level = 5.0
    max_relative_feature_difference: Share = 0.05


# Where fp32 runs on the provider that gave the answers, only the order of additions differs. Between kernels
# of one processor that moved the mean of a cell by 0.0002 levels and the image probability by 0.000002.
AT_HOME = GoldenTolerance(
    min_mask_iou=0.99,
    max_image_probability_difference=0.001,
    max_level_difference=0.05,
    max_relative_feature_difference=0.001,
)

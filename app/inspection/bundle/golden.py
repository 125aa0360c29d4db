"""Golden samples: the answers a bundle's artifacts must give to known images, and tolerances."""

import hashlib
import json
from typing import Annotated

from pydantic import Field

from app.inspection.results import Verdict
from app.inspection.types import BundlePart, Level, Name, Sha256, Share, Threshold


class GoldenAnswer(BundlePart):
    """The answer of one artifact to a golden sample when the bundle was built.

    `main_class` is the class with the largest area, None without a defect. `mean_levels` has for each
    class the mean level (0..255) in 4 x 4 cells of the image, row by row. `feature_distance` is the
    gate's score.
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
    """An image with the label map, verdict and image probability the bundle must reproduce.

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
        """The artifact's own answer; None if the bundle has none."""
        return next((each for each in self.answers if each.artifact == artifact), None)


class GoldenSetting(BundlePart):
    """The execution provider and thresholds with which an artifact answered the golden samples.

    Fingerprints cover everything else that the answers or their statistics depend on: the operating
    point with its trade-off, expected rates and Dice interval; the probability calibration; the input
    gate; the classes with their severities; the input contract.
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
    """The SHA-256 of all values of the parts that differ from their defaults."""
    values = [part and part.model_dump(mode="json", exclude_defaults=True) for part in parts]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


class GoldenTolerance(BundlePart):
    """Allowed difference from a golden sample: providers and artifacts round differently.

    A bundle may state its own, up to fixed limits: with any tolerance, golden samples would show nothing.
    """

    min_mask_iou: Annotated[float, Field(ge=0.9, le=1)] = 0.95
    max_image_probability_difference: Annotated[float, Field(ge=0, le=0.1)] = 0.05
    max_level_difference: Annotated[float, Field(ge=0, le=10)] = 5.0
    max_relative_feature_difference: Annotated[float, Field(ge=0, le=0.1)] = 0.05


class ToleranceAtHome(GoldenTolerance):
    """As GoldenTolerance, for fp32 on the provider that gave the answers.

    Only the order of additions differs there. Measured between kernels of one processor: up to 0.0002 levels
    in a cell's mean, 0.000002 in the image probability.
    """

    min_mask_iou: Annotated[float, Field(ge=0.98, le=1)] = 0.99
    max_image_probability_difference: Annotated[float, Field(ge=0, le=0.01)] = 0.001
    max_level_difference: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    max_relative_feature_difference: Annotated[float, Field(ge=0, le=0.01)] = 0.001

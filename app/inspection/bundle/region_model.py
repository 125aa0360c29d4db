"""The region model: the probability that a connected region of the any-defect mask is a defect."""

from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from app.inspection.types import BundlePart

Floats = NDArray[np.float64]
# Far beyond any fitted weight, and small enough that products and sums cannot overflow.
Weight = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]

RegionFeature = Literal["mean_logit", "peak_probability", "log_area", "contrast", "border_gap", "head_logit"]
# The columns of a feature table, in this order everywhere.
REGION_FEATURES: tuple[RegionFeature, ...] = (
    "mean_logit",
    "peak_probability",
    "log_area",
    "contrast",
    "border_gap",
    "head_logit",
)


CERTAIN = 0.998  # largest probability in a logit: values beyond it differ by rounding only


def logit(probability: Floats) -> Floats:
    """log(p / (1 - p)) of probabilities, clipped to 0.002..0.998."""
    kept = np.clip(probability, 1 - CERTAIN, CERTAIN)
    return np.asarray(np.log(kept / (1 - kept)))


class RegionModel(BundlePart):
    """Logistic regression on region features: p = sigmoid(bias + sum of weight x feature).

    The features, one row for each region: logit of the mean any-defect probability, and the highest one
    (0..1); natural logarithm of the area in px; contrast, the absolute difference of mean grey level
    between the region and the background pixels around it, divided by their standard deviation; gap to
    the image border, 0 at the border and 1 from 32 px on; logit of the highest image-level probability
    of the tiles that the region's bounding box overlaps. A feature without a weight has no influence.
    `regions` and `groups` are the numbers it was fitted on.
    """

    weights: dict[RegionFeature, Weight]
    bias: Weight
    regions: Annotated[int, Field(ge=0)] = 0
    groups: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _has_a_weight(self) -> Self:
        if not self.weights:
            raise ValueError(f"weights must name at least one of {', '.join(REGION_FEATURES)}")
        return self

    def probability(self, features: Floats) -> Floats:
        """The probability that each region is a defect, float64 [N], from features float64 [N, 6]."""
        weights = np.array([self.weights.get(name, 0.0) for name in REGION_FEATURES])
        logits = np.clip(features @ weights + self.bias, -50, 50)  # beyond, exp overflows
        return np.asarray(1 / (1 + np.exp(-logits)))

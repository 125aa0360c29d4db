"""The part model: the probability that a part is defective, from several images of one view."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from app.inspection.errors import RecipeInvalid
from app.inspection.types import BundlePart, Threshold

PartRule = Literal["worst", "joint"]  # how several images of a part give its verdict
LARGEST_LOGIT = 6.0  # image probabilities are clipped to 0.0025..0.9975
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class PartModel(BundlePart):
    """Logistic regression: p = sigmoid(bias + mean_logit x mean(logits) + max_logit x max(logits)).

    The logits are those of the image probabilities, clipped to -6..6. Weights are never negative, so a
    higher image probability never lowers that of the part. A part is defective if p reaches
    `part_threshold`. `parts` and `defective` are the numbers of parts it was fitted on.
    """

    mean_logit: Weight
    max_logit: Weight
    bias: Annotated[float, Field(allow_inf_nan=False)]
    part_threshold: Threshold
    parts: Annotated[int, Field(ge=0)] = 0
    defective: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _has_a_weight(self) -> Self:
        if self.mean_logit == self.max_logit == 0:
            raise ValueError("mean_logit or max_logit must be above 0")
        return self

    def probability(self, images: Sequence[float]) -> float:
        """The probability that a part is defective, from its image probabilities (0..1)."""
        mean, highest = part_features(images)
        logit = np.clip(self.bias + self.mean_logit * mean + self.max_logit * highest, -50, 50)
        return float(1 / (1 + np.exp(-logit)))


def resolve_parts(rule: PartRule, model: PartModel | None) -> PartModel | None:
    """The part model in force; None for `worst`. Raises RecipeInvalid if `joint` has no model."""
    if rule == "worst":
        return None
    if model is None:
        raise RecipeInvalid(
            "parts: the bundle holds no part model, so there is no joint probability; use parts: worst"
        )
    return model


def part_features(images: Sequence[float]) -> tuple[float, float]:
    """Mean and maximum of the clipped logits of at least one image probability."""
    probability: NDArray[np.float64] = np.asarray(images, np.float64)
    with np.errstate(divide="ignore"):
        logits = np.clip(np.log(probability) - np.log1p(-probability), -LARGEST_LOGIT, LARGEST_LOGIT)
    return float(logits.mean()), float(logits.max())

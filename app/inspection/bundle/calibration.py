"""Probability calibration: corrects the graph's probabilities so that they match frequencies."""

from itertools import pairwise
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from app.inspection.types import BundlePart, Share

Temperature = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Curve(BundlePart):
    """The calibration curve of one output.

    Without `levels`: temperature scaling, p' = sigmoid(logit(p) / T). With `levels`: linear
    interpolation between the (level, probability) points, constant beyond the first and last.
    """

    temperature: Temperature = 1.0
    levels: tuple[Annotated[int, Field(ge=0, le=255)], ...] = ()
    probabilities: tuple[Share, ...] = ()

    @model_validator(mode="after")
    def _rises(self) -> "Curve":
        if len(self.levels) != len(self.probabilities):
            raise ValueError("levels and probabilities must have the same length")
        if any(low >= high for low, high in pairwise(self.levels)):
            raise ValueError("levels must increase")
        if any(low > high for low, high in pairwise(self.probabilities)):
            raise ValueError("probabilities must not decrease: calibration must keep the order")
        return self

    def table(self) -> NDArray[np.float32]:
        """The calibrated probability of each of the 256 levels, float32 [256]."""
        if self.levels:
            return np.interp(np.arange(256), self.levels, self.probabilities).astype(np.float32)
        level = np.arange(256) / 255.0
        with np.errstate(divide="ignore"):  # logits of levels 0 and 255 are infinite; they stay 0 and 1
            logit = np.log(level) - np.log1p(-level)
            return np.asarray(1.0 / (1.0 + np.exp(-logit / self.temperature)), dtype=np.float32)


class ProbabilityCalibration(BundlePart):
    """The calibration curves: for any defect, for each class and for the image probability.

    `mask_temperature` applies to any defect if `any_defect` is not given. `classes` is empty or has one
    curve for each class. The image probability is rounded to the nearest of 256 levels.
    """

    mask_temperature: Temperature = 1.0
    any_defect: Curve | None = None
    classes: tuple[Curve, ...] = ()
    image: Curve = Curve()

    def mask_table(self) -> NDArray[np.float32]:
        """Calibrated any-defect probability for each level of the most probable class, float32 [256]."""
        return (self.any_defect or Curve(temperature=self.mask_temperature)).table()

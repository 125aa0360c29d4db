"""Probability calibration: what makes the graph's probabilities mean frequencies."""

from itertools import pairwise
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from app.inspection.types import BundlePart, Share

Temperature = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Curve(BundlePart):
    """How the probabilities of one output are bent so that they mean frequencies.

    By a temperature, p' = sigmoid(logit(p) / T), or, where there are `levels`, along the straight lines
    between these (level, probability) points, and flat beyond them.
    """

    temperature: Temperature = 1.0
    levels: tuple[Annotated[int, Field(ge=0, le=255)], ...] = ()
    probabilities: tuple[Share, ...] = ()

    @model_validator(mode="after")
    def _rises(self) -> "Curve":
        if len(self.levels) != len(self.probabilities):
            raise ValueError("levels and probabilities must be equally many")
        if any(low >= high for low, high in pairwise(self.levels)):
            raise ValueError("levels must rise")
        if any(low > high for low, high in pairwise(self.probabilities)):
            raise ValueError("probabilities must not fall, or calibration would change the order of pixels")
        return self

    def table(self) -> NDArray[np.float32]:
        """The calibrated probability of each of the 256 levels, float32 [256]."""
        if self.levels:
            return np.interp(np.arange(256), self.levels, self.probabilities).astype(np.float32)
        level = np.arange(256) / 255.0
        with np.errstate(divide="ignore"):  # levels 0 and 255 are minus and plus infinity, and stay 0 and 1
            logit = np.log(level) - np.log1p(-level)
            return np.asarray(1.0 / (1.0 + np.exp(-logit / self.temperature)), dtype=np.float32)


class ProbabilityCalibration(BundlePart):
    """What makes probabilities mean frequencies: of each class, of any defect, and of the picture.

    `mask_temperature` is that of any defect where `any_defect` is not given. `classes` is empty or has one
    curve for each class. The image probability counts as the nearest of 256 levels.
    """

    mask_temperature: Temperature = 1.0
    any_defect: Curve | None = None
    classes: tuple[Curve, ...] = ()
    image: Curve = Curve()

    def mask_table(self) -> NDArray[np.float32]:
        """The calibrated any-defect probability of each level of the most probable class, float32 [256]."""
        return (self.any_defect or Curve(temperature=self.mask_temperature)).table()

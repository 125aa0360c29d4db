"""What is learnt of an artifact's own answers, on pictures that it was not fitted to."""

from dataclasses import dataclass
from typing import Any

from app.inspection.artifact import Artifact
from app.inspection.inspector import Inspector
from training.calibration import calibrate
from training.config import OperatingPointConfig
from training.dice_interval import dice_interval
from training.operating_point import choose
from training.predictions import score
from training.splits import Splits


@dataclass(frozen=True)
class Learnt:
    """The artifact with what was learnt of it, and the report of its probability calibration."""

    artifact: Artifact
    report: dict[str, Any]


def learn_artifact(inspector: Inspector, splits: Splits, config: OperatingPointConfig) -> Learnt:
    """Choose thresholds, probability calibration and the interval around the estimated Dice.

    All on the calibration split. Where it has too few groups for an interval, those of the validation split
    join it, on which the checkpoint was chosen, but no threshold. Raises OperatingPointError.
    """
    scored = score(inspector, splits["calibration"])
    choice = choose(scored, config)
    point = choice.point
    calibrated = calibrate(scored, choice.image_probability.tolist(), inspector.bundle.class_names)
    interval = dice_interval(point, scored, calibrated.calibration, ("calibration",))
    if interval is None:
        scored += score(inspector, splits["validation"])
        both = ("calibration", "validation")
        interval = dice_interval(point, scored, calibrated.calibration, both)
    learnt = {
        "operating_point": point.model_copy(update={"dice_interval": interval}),
        "calibration": calibrated.calibration,
    }
    return Learnt(inspector.session.artifact.model_copy(update=learnt), calibrated.report)

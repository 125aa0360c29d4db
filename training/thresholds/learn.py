"""Fits thresholds and calibration of an artifact to its own answers, on images it was not fitted on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.inspection.bundle.artifact import Artifact, OperatingPoint
from app.inspection.bundle.calibration import ProbabilityCalibration
from app.inspection.inspector import Inspector
from training.config import OperatingPointConfig
from training.data.sample import Sample
from training.sessions import inspector_of
from training.thresholds.calibration import calibrate
from training.thresholds.dice_interval import dice_interval
from training.thresholds.operating_point import choose
from training.thresholds.predictions import Scored, score


@dataclass(frozen=True, eq=False)
class Unseen:
    """Labelled images and a bundle that was not fitted on them.

    `samples` are a calibration split, or the held-out images of a fold. The checkpoint was chosen on the
    `validation` images, so they are used for intervals and budgets only. With `folder`, answers are cached
    there, by graph.
    """

    inspector: Inspector
    samples: Sequence[Sample]
    validation: Sequence[Sample] = ()
    folder: Path | None = None

    def of(self, artifact: Artifact) -> "Unseen":
        """The same images with another artifact of the bundle, or the same one with other thresholds."""
        return replace(self, inspector=inspector_of(self.inspector.bundle, artifact))

    def scored(self) -> list[Scored]:
        """The graph's answers for the images that thresholds may be chosen on."""
        return self._score(self.samples)

    def scored_validation(self) -> list[Scored]:
        """Its answers for the validation images."""
        return self._score(self.validation)

    def scored_all(self) -> list[Scored]:
        """Its answers for both."""
        return [*self.scored_validation(), *self.scored()]

    def _score(self, samples: Sequence[Sample]) -> list[Scored]:
        graph = self.inspector.session.artifact.sha256[:16]
        return score(self.inspector, samples, self.folder and self.folder / graph)


@dataclass(frozen=True)
class Learnt:
    """The fitted operating point and calibration, and the report of the calibration."""

    point: OperatingPoint
    calibration: ProbabilityCalibration
    report: dict[str, Any]

    def applied_to(self, artifact: Artifact) -> Artifact:
        """The artifact with this operating point and calibration."""
        return artifact.model_copy(update={"operating_point": self.point, "calibration": self.calibration})


def learn_artifact(unseen: Sequence[Unseen], config: OperatingPointConfig) -> Learnt:
    """Choose thresholds, region model, probability calibration and the interval around the estimated Dice.

    If there are too few groups for the interval, those of the validation split are added. Raises
    OperatingPointError if no threshold is usable.
    """
    scored = [each for part in unseen for each in part.scored()]
    choice = choose(scored, config)
    classes = unseen[0].inspector.bundle.class_names
    calibrated = calibrate(scored, choice.image_probability.tolist(), classes)
    interval = dice_interval(choice.point, scored, calibrated.calibration, ("calibration",))
    more = [each for part in unseen for each in part.scored_validation()] if interval is None else []
    if more:
        both = ("calibration", "validation")
        interval = dice_interval(choice.point, scored + more, calibrated.calibration, both)
    point = choice.point.model_copy(update={"dice_interval": interval})
    return Learnt(point, calibrated.calibration, calibrated.report)

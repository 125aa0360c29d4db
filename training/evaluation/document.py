"""The one shape of evaluation.json, and what builds it."""

from typing import NotRequired, TypedDict

from app.inspection.bundle.artifact import Artifact
from app.inspection.bundle.bundle import Bundle
from training.statistics import Figures
from training.thresholds.risk_text import certainty


class EvaluatedBundle(TypedDict):
    """Which bundle was evaluated, by which of its artifacts."""

    name: str
    version: str
    artifact: str


class Document(TypedDict):
    """The figures of a bundle on a labelled set.

    `calibration` is the operating point in force, `test` the figures of `evaluate_parts`.
    """

    command: str
    bundle: EvaluatedBundle
    confidence: float
    calibration: Figures
    test: Figures
    certainty: str
    gate: NotRequired[Figures]  # where the artifact has one
    # Of a run, for the model card; `parity.test` where artifacts were compared on the test split.
    split: NotRequired[Figures]
    by_fold: NotRequired[list[Figures]]
    probability_calibration: NotRequired[Figures]
    parity: NotRequired[Figures]
    artifacts: NotRequired[Figures]  # what was tried beside fp32
    generated: NotRequired[Figures]
    # Of the command `evaluate`, each where it is asked for.
    changes: NotRequired[Figures]
    generalisation: NotRequired[list[Figures]]
    interval_check: NotRequired[Figures]


def document_of(
    command: str, bundle: Bundle, artifact: Artifact, test: Figures, confidence: float
) -> Document:
    """The document of the figures that a bundle reached with one of its artifacts."""
    return {
        "command": command,
        "bundle": {"name": bundle.name, "version": bundle.version, "artifact": artifact.name},
        "confidence": confidence,
        "calibration": artifact.operating_point.model_dump(mode="json", exclude={"trade_off"}),
        "test": test,
        "certainty": certainty(test, confidence),
    }

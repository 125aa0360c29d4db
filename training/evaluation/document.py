"""The type of evaluation.json, and its constructor."""

from typing import NotRequired, TypedDict

from app.inspection.bundle.artifact import Artifact
from app.inspection.bundle.bundle import Bundle
from training.statistics import Figures
from training.thresholds.risk_text import certainty


class EvaluatedBundle(TypedDict):
    """The evaluated bundle and artifact."""

    name: str
    version: str
    artifact: str


class Document(TypedDict):
    """The figures of a bundle on a labelled data set.

    `calibration` is the operating point, `test` the figures of `evaluate_parts`.
    """

    command: str
    bundle: EvaluatedBundle
    confidence: float
    calibration: Figures
    test: Figures
    certainty: str
    gate: NotRequired[Figures]  # if the artifact has one
    # From a run, for the model card; `parity.test` if artifacts were compared on the test split.
    split: NotRequired[Figures]
    by_fold: NotRequired[list[Figures]]
    probability_calibration: NotRequired[Figures]
    parity: NotRequired[Figures]
    artifacts: NotRequired[Figures]  # the trials of other artifacts than fp32
    generated: NotRequired[Figures]
    # From the command `evaluate`, each if requested.
    changes: NotRequired[Figures]
    generalisation: NotRequired[list[Figures]]
    interval_check: NotRequired[Figures]


def document_of(
    command: str, bundle: Bundle, artifact: Artifact, test: Figures, confidence: float
) -> Document:
    """The document with the figures of a bundle, measured with one of its artifacts."""
    return {
        "command": command,
        "bundle": {"name": bundle.name, "version": bundle.version, "artifact": artifact.name},
        "confidence": confidence,
        "calibration": artifact.operating_point.model_dump(mode="json", exclude={"trade_off"}),
        "test": test,
        "certainty": certainty(test, confidence),
    }

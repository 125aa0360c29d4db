"""What the steps of a run have in common: the files they leave."""

import json
from pathlib import Path

from training.config import ConfigError
from training.files import write_text

ARTIFACTS = "artifacts.json"  # in a run's folder: what was tried beside fp32
CALIBRATION = "calibration.json"  # how well the probabilities of fp32 are calibrated


def require(path: Path, step: str) -> None:
    """Raise ConfigError where the result of an earlier step is missing."""
    if not path.is_file():
        raise ConfigError(f"{path} is missing; run the step {step} first")


def write_json(path: Path, value: object) -> None:
    """Write a file in one go."""
    write_text(path, json.dumps(value, indent=2) + "\n")

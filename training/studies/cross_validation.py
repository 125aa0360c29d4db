"""Repeated k-fold cross-validation of a whole run; no image is inspected by a model fitted on its part."""

import json
from typing import Any

import numpy as np

from training.bundle.publish import CROSS_VALIDATION
from training.config import ConfigError
from training.data.sample import Dataset
from training.evaluation.figures import fold_figures
from training.files import EVALUATION, read_json, write_text
from training.pipeline import take_steps
from training.run import Run
from training.steps.split import SplitRun, read_data, split
from training.studies.comparison import mean_interval


def cross_validate(run: Run, folds: int, repeats: int = 1) -> dict[str, Any]:
    """Run the steps from fit to evaluation for each fold; write cross-validation.json to the run's folder.

    Each fold chooses its own checkpoint and thresholds, on groups of its own, and inspects its test images
    with the bundle that it exports. A fold whose evaluation exists is not run again. Returns the content of
    the file: each figure's value per fold, its mean and the interval of the mean.
    """
    run.claim()
    rows: list[dict[str, float | None]] = []
    names = []
    for part in folds_of(run, read_data(run), folds, repeats):
        figures = evaluated(part)
        names.append(part.directory.name)
        rows.append(figures)
        print(f"{part.directory.name}: {figures}", flush=True)
    confidence = run.config.operating_point.confidence
    result = {
        "command": run.command,
        "split": run.config.split.model_dump(),
        "folds": folds,
        "repeats": repeats,
        "confidence": confidence,
        "mean": {name: _mean([row[name] for row in rows], folds, confidence) for name in rows[0]},
        "per_fold": dict(zip(names, rows, strict=True)),
    }
    write_text(run.directory / CROSS_VALIDATION, json.dumps(result, indent=2, allow_nan=False) + "\n")
    return result


def folds_of(
    run: Run, dataset: Dataset, folds: int, repeats: int = 1, most: int | None = None
) -> list[SplitRun]:
    """The runs of a cross-validation, at most `most`, each in its own folder below the run's.

    All are divided into their splits before any is fitted. Raises DatasetError if one cannot be measured,
    ConfigError for a cross-fitted run, whose folds have no split to choose thresholds on.
    """
    if run.config.split.folds is not None:
        raise ConfigError(
            "split.folds: a cross-fitted run has figures of every image already; leave folds out and set "
            "the four shares for a study"
        )
    return [split(part, dataset) for part in run.of_folds(folds, repeats)[:most]]


def evaluated(part: SplitRun) -> dict[str, float | None]:
    """Take the steps of a fold's run up to evaluation, and return its main figures."""
    take_steps(part, "evaluate")
    return fold_figures(read_json(part.bundle / EVALUATION)["test"])


def _mean(values: list[float | None], folds: int, confidence: float) -> dict[str, Any] | None:
    """Mean over the folds that measured a figure, its interval, and the number of these folds."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    bounds = mean_interval(known, folds, confidence) if len(known) > 1 else None
    return {
        "value": round(float(np.mean(known)), 4),
        "interval": bounds and [round(max(bounds.low, 0.0), 4), round(min(bounds.high, 1.0), 4)],
        "folds": len(known),
    }

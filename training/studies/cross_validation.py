"""Repeated k-fold cross-validation of a whole run: no picture is judged by a model that saw its part."""

import json
from typing import Any

import numpy as np

from training.bundle.publish import FOLDS
from training.evaluation.figures import fold_figures
from training.files import read_json, write_text
from training.pipeline import go
from training.run import Run
from training.studies.comparison import interval


def cross_validate(run: Run, folds: int, repeats: int = 1) -> dict[str, Any]:
    """Take a run through fit to evaluation once per fold and write cross-validation.json into its folder.

    Each fold chooses its own checkpoint and thresholds, on groups of its own, and judges its part with the
    bundle that it exports. A fold whose evaluation is there is not run again. Returns what the file holds:
    of each figure the value per fold, their mean and its interval.
    """
    run.claim()
    rows: list[dict[str, float | None]] = []
    names = []
    for part in folds_of(run, folds, repeats):
        go(part, "evaluate")
        figures = fold_figures(read_json(part.bundle / "evaluation.json")["test"])
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
    write_text(run.directory / FOLDS, json.dumps(result, indent=2, allow_nan=False) + "\n")
    return result


def folds_of(run: Run, folds: int, repeats: int = 1, most: int | None = None) -> list[Run]:
    """The runs of a cross-validation, at `most` so many, each in a folder of its own below the run's.

    All are divided into their splits before any is fitted: raises DatasetError where one cannot be judged.
    """
    parts = run.of_folds(folds, repeats)[:most]
    for part in parts:
        go(part, "split")
    return parts


def _mean(values: list[float | None], folds: int, confidence: float) -> dict[str, Any] | None:
    """Mean over the folds that measured a figure, its interval, and how many those were."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    bounds = interval(known, folds, confidence) if len(known) > 1 else None
    return {
        "value": round(float(np.mean(known)), 4),
        "interval": bounds and [round(max(bounds.low, 0.0), 4), round(min(bounds.high, 1.0), 4)],
        "folds": len(known),
    }

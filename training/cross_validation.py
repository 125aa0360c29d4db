"""Repeated k-fold cross-validation of a whole run: no picture is judged by a model that saw its part."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from training.bundle_files import read_json, write_text
from training.config import ConfigError
from training.evaluation.figures import fold_interval
from training.pipeline import go
from training.run import Run
from training.splits import Fold

RATES = ("accuracy", "precision", "recall", "escape_rate", "overkill_rate")
RESULT = "cross-validation.json"


def cross_validate(run: Run, folds: int, repeats: int = 1) -> dict[str, Any]:
    """Take a run through fit to evaluation once per fold and write cross-validation.json into its folder.

    Each fold chooses its own checkpoint and thresholds, on groups of its own, and judges its part with the
    bundle that it exports. A fold whose evaluation is there is not run again. Returns what the file holds:
    of each figure the value per fold, their mean and its interval.
    """
    run.claim()
    rows = []
    for fold in _folds(folds, repeats):
        part = replace(run, fold=fold, directory=run.directory / "folds" / fold.name)
        go(part, "evaluate")
        rows.append({"fold": fold.name, **fold_figures(read_json(part.bundle / "evaluation.json")["test"])})
        print(f"{fold.name}: {rows[-1]}", flush=True)
    confidence = run.config.operating_point.confidence
    result = {
        "command": run.command,
        "split": run.config.split.model_dump(),
        "folds": folds,
        "repeats": repeats,
        "confidence": confidence,
        "mean": {name: _mean([row[name] for row in rows], confidence) for name in rows[0] if name != "fold"},
        "per_fold": rows,
    }
    write_text(run.directory / RESULT, json.dumps(result, indent=2, allow_nan=False) + "\n")
    return result


def check_folds(run: Run) -> Path:
    """Return the result of a run's cross-validation; raises ConfigError where there is none."""
    path = run.directory / RESULT
    if not path.is_file():
        raise ConfigError(f"{path} is missing; run cross-validate first")
    return path


def fold_figures(test: dict[str, Any]) -> dict[str, float | None]:
    """The figures that are averaged over folds; None where a fold could not measure one."""
    rates = {name: None if test[name] is None else test[name]["value"] for name in RATES}
    return rates | {"auroc": test["auroc"], "dice": test["dice"]["per_defective_picture"]}


def _folds(folds: int, repeats: int) -> Iterator[Fold]:
    for repeat in range(repeats):
        for number in range(folds):
            yield Fold(number, folds, repeat)


def _mean(values: list[float | None], confidence: float) -> dict[str, Any]:
    """Mean over the folds that measured a figure, its interval, and how many those were."""
    known = [value for value in values if value is not None]
    mean, bounds = fold_interval(known, confidence) if len(known) > 1 else (float(np.mean(known)), None)
    return {
        "value": round(mean, 4),
        "interval": None if bounds is None else [round(bound, 4) for bound in bounds],
        "folds": len(known),
    }

"""Learning curves from each start: figures against the share of training groups, and steps to a score."""

import json
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.config import ConfigError
from training.files import write_text, written_whole
from training.run import Run
from training.steps.split import SplitRun, read_data
from training.studies.cross_validation import evaluated, folds_of

Beginning = Literal["scratch", "imagenet", "large"]
BEGINNINGS: tuple[Beginning, ...] = ("scratch", "imagenet", "large")
SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)
FIGURES = ("accuracy", "auroc", "dice")
FOLDS = 5


@dataclass(frozen=True)
class Point:
    """One fit: its initial weights, share of the training groups, fold, and results.

    `validation` is the validation score ((AUROC + Dice) / 2) by step; the figures are of the test split.
    """

    beginning: Beginning
    share: float
    fold: str
    figures: dict[str, float | None]
    validation: dict[int, float]


def learning_curve(run: Run, shares: tuple[float, ...], folds: int) -> dict[str, Any]:
    """Fit and evaluate each beginning on each share in the first `folds` of FOLDS folds; write the results.

    A beginning is the initial weights. `learning-curve.json` has every point, the means, and the number of
    steps of each beginning to the best validation score of a fit from scratch on the same data;
    `learning-curve.svg` shows them. A fit whose evaluation exists is not run again. Raises ConfigError if the
    run has no bundle to start from.
    """
    if run.start is None:
        raise ConfigError("a learning curve needs the bundle of a large stage; give it with --from")
    dataset = read_data(run)
    points = [
        _point(run, beginning, share, part)
        for beginning in BEGINNINGS
        for share in shares
        for part in folds_of(_beginning(run, beginning, share), dataset, FOLDS, most=folds)
    ]
    means = _means(points)
    result = {
        "command": run.command,
        "from": run.start.as_posix(),
        "split": run.config.split.model_dump(),
        "steps": run.config.fit.steps,
        "means": means,
        "points": [vars(point) for point in points],
    }
    write_text(run.directory / "learning-curve.json", json.dumps(result, indent=2) + "\n")
    with written_whole(run.directory / "learning-curve.svg") as partial:
        _chart(means).savefig(partial, format="svg", metadata={"Date": None})
    return result


def _beginning(run: Run, beginning: Beginning, share: float) -> Run:
    """The run from one beginning on a share of the training groups."""
    config = run.config
    fit = config.fit.model_copy(update={"strategy": "scratch"}) if beginning == "scratch" else config.fit
    split = config.split.model_copy(update={"train_share": share})
    return replace(
        run,
        config=config.model_copy(update={"fit": fit, "split": split}),
        start=run.start if beginning == "large" else None,
        directory=run.directory / "learning-curve" / f"{beginning}-{share:g}",
    )


def _point(run: Run, beginning: Beginning, share: float, part: SplitRun) -> Point:
    figures = evaluated(part)
    logs = EventAccumulator(str(part.directory / "fit/logs")).Reload()
    # Lightning's loggers count steps from 0
    validation = {event.step + 1: round(event.value, 4) for event in logs.Scalars("validation/score")}
    print(f"{beginning}, {share:g} of the groups, {part.directory.name}: {figures}", flush=True)
    return Point(beginning, share, part.directory.name, figures, validation)


def _means(points: list[Point]) -> list[dict[str, Any]]:
    """Means over the folds for each beginning and share, with the steps to the best score from scratch."""
    rows = []
    for beginning, share in dict.fromkeys((point.beginning, point.share) for point in points):
        chosen = [point for point in points if (point.beginning, point.share) == (beginning, share)]
        bests = {
            point.fold: max(point.validation.values())
            for point in points
            if (point.beginning, point.share) == ("scratch", share)
        }
        reached = [steps for point in chosen if (steps := _steps_to(point, bests[point.fold])) is not None]
        rows.append(
            {
                "beginning": beginning,
                "share": share,
                "folds": len(chosen),
                "folds_that_reached_the_best_of_scratch": len(reached),
                "steps_to_the_best_of_scratch": round(float(np.mean(reached))) if reached else None,
                **{name: _mean([point.figures[name] for point in chosen]) for name in FIGURES},
            }
        )
    return rows


def _steps_to(point: Point, score: float) -> int | None:
    """The first validated step with at least that score; None if there is none."""
    return next((step for step, reached in sorted(point.validation.items()) if reached >= score), None)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 4) if known else None


def _chart(means: list[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(4 * len(FIGURES), 3.4), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(FIGURES)), FIGURES, strict=True):
        for beginning in BEGINNINGS:
            rows = [row for row in means if row["beginning"] == beginning and row[name] is not None]
            axes.plot([row["share"] for row in rows], [row[name] for row in rows], "o-", label=beginning)
        axes.set(xscale="log", xlabel="share of training groups", title=name)
    axes.legend()
    return figure

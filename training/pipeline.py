"""The whole journey of one stage, from pictures to a published bundle.

Datasets -> folds -> fit -> export -> operating point -> artifacts -> gate -> evaluate -> publish.

Every step writes into the run's folder and is skipped when its result is there, so a run that was stopped
goes on where it was. The stage `small` is the same journey, from the weights of `large`.
"""

from collections.abc import Callable

from training.run import Run
from training.steps.artifacts import artifacts, gate, operating_point
from training.steps.evaluate import evaluate
from training.steps.export import export
from training.steps.fit import finetune, split
from training.steps.publish import publish
from training.steps.unseen import fold_runs


def fit_folds(run: Run) -> None:
    """Fit and export the network of each fold of a cross-fitted run, to predict images it has not seen."""
    parts = fold_runs(run)
    for part in parts:
        go(part, "split")
    for part in parts:
        go(part, "export")


STEPS: dict[str, Callable[[Run], object]] = {
    "split": split,
    "folds": fit_folds,
    "fit": finetune,
    "export": export,
    "operating-point": operating_point,
    "artifacts": artifacts,
    "gate": gate,
    "evaluate": evaluate,
    "publish": publish,
}


def go(run: Run, until: str) -> None:
    """Take every step of a run up to and with `until`."""
    run.claim()
    for name, step in STEPS.items():
        step(run)
        if name == until:
            return

"""All steps of one stage, from images to a published bundle.

Split -> folds -> fit -> export -> operating point -> artifacts -> gate -> evaluate -> publish.

The split reads the data set, and each later step takes the run with its splits. Every step writes into the
run's folder and is skipped if its result exists, so a stopped run continues where it was. The stage `small`
has the same steps, and starts from the weights of `large`.
"""

from collections.abc import Callable

from training.run import Run
from training.steps.artifacts import artifacts, gate, operating_point
from training.steps.evaluate import evaluate
from training.steps.export import export
from training.steps.fit import finetune
from training.steps.publish import publish
from training.steps.split import SplitRun, split


def fit_folds(run: SplitRun) -> None:
    """Fit and export the network of each fold of a cross-fitted run, to predict its held-out images."""
    for fold in run.folds:
        take_steps(fold, "export")


STEPS: dict[str, Callable[[SplitRun], object]] = {
    "folds": fit_folds,
    "fit": finetune,
    "export": export,
    "operating-point": operating_point,
    "artifacts": artifacts,
    "gate": gate,
    "evaluate": evaluate,
    "publish": publish,
}
UNTIL = ("split", *STEPS)  # the steps that a run may end with


def go(run: Run, until: str) -> None:
    """Take every step of a run up to and including `until`."""
    take_steps(split(run), until)


def take_steps(run: SplitRun, until: str) -> None:
    """Take every step after the split up to and including `until`; none if `until` is the split."""
    for step in list(STEPS.values())[: UNTIL.index(until)]:
        step(run)

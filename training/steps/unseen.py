"""The images of a run that its network has not seen: of its calibration split, or of its folds."""

from app.inspection.bundle.bundle import Bundle
from app.inspection.inspector import Inspector
from training.bundle.artifacts.make import Source
from training.run import Run
from training.sessions import inspector_of
from training.steps.fit import split
from training.thresholds.learn import Unseen


def fold_runs(run: Run) -> list[Run]:
    """The runs of the folds of a cross-fitted run; none of another."""
    count = run.config.split.folds
    return [] if count is None or run.fold is not None else run.of_folds(count)


def unseen_by(run: Run) -> list[tuple[Source, Unseen]]:
    """Each bundle with what it was fitted on, and the images that it was fitted without."""
    folds = fold_runs(run)
    if not folds:
        _, splits = split(run)
        inspector = _fp32(run)
        folder = run.directory / "predictions"
        unseen = Unseen(inspector, splits["calibration"], splits["validation"], folder)
        return [(Source(inspector.bundle, splits["train"]), unseen)]
    found = []
    for fold in folds:
        _, splits = split(fold)
        unseen = Unseen(_fp32(fold), splits["test"], folder=fold.directory / "predictions")
        found.append((Source(unseen.inspector.bundle, splits["train"]), unseen))
    return found


def _fp32(run: Run) -> Inspector:
    bundle = Bundle.load(run.bundle)
    return inspector_of(bundle, next(each for each in bundle.artifacts if each.name == "fp32"))

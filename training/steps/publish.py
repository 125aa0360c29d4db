"""The last step: golden samples, model card, and the copy of the bundle to the models folder."""

from pathlib import Path

from app.inspection.bundle.bundle import Bundle
from training.bundle.golden import add_golden
from training.bundle.publish import (
    COMPARISON,
    COMPARISON_CROSS_VALIDATION,
    CROSS_VALIDATION,
    check_comparison,
    check_folds,
    check_target,
    publish_bundle,
    set_beside,
)
from training.data.generators import make_generator
from training.files import EVALUATION, require
from training.run import Run
from training.steps.split import SplitRun


def publish(run: SplitRun) -> Path:
    """Add golden samples and the model card, self-test, and copy the bundle to the models folder."""
    require(run.bundle / EVALUATION, "evaluate")
    check_publishing(run)
    if not Bundle.load(run.bundle).golden:
        generated = run.config.generated
        generator = None if generated is None else make_generator(run.classes, generated)
        own = run.splits.get("calibration", run.splits["train"])
        tried = add_golden(run.bundle, generator, own, run.config.right_golden)
        print(f"golden samples, images tried for each: {tried}", flush=True)
    for name, figures in _beside(run).items():
        set_beside(run.bundle, name, figures)
    return publish_bundle(run.bundle, run.models, run.replace)


def check_publishing(run: Run) -> None:
    """Raise the errors of publishing early, because training takes hours."""
    _beside(run)
    check_target(run.models, run.config.name, run.config.version, run.replace)


def _beside(run: Run) -> dict[str, Path | None]:
    """The files with figures of other runs that are published with this one, by their name there."""
    names = (COMPARISON, COMPARISON_CROSS_VALIDATION, CROSS_VALIDATION)
    beside: dict[str, Path | None] = dict.fromkeys(names)
    if run.comparison is not None:
        beside[COMPARISON] = check_comparison(run.comparison)
        folds = run.comparison / CROSS_VALIDATION
        beside[COMPARISON_CROSS_VALIDATION] = folds if folds.is_file() else None
    if run.cross_validation is not None:
        beside[CROSS_VALIDATION] = check_folds(run.cross_validation, run.config)
    return beside

"""The last step: golden samples, model card, and the bundle where it is served from."""

from pathlib import Path

from app.inspection.bundle.bundle import Bundle
from training.bundle.golden import add_golden
from training.bundle.publish import (
    COMPARISON,
    COMPARISON_FOLDS,
    FOLDS,
    check_comparison,
    check_folds,
    check_target,
    set_beside,
)
from training.bundle.publish import publish as publish_bundle
from training.data.generators import make_generator
from training.files import require
from training.run import Run
from training.steps.fit import split


def publish(run: Run) -> Path:
    """Add golden samples and the model card, self-test, and copy the bundle to the models folder."""
    require(run.bundle / "evaluation.json", "evaluate")
    check_publishing(run)
    if not Bundle.load(run.bundle).golden:
        classes, splits = split(run)
        generated = run.config.generated
        generator = None if generated is None else make_generator(classes, generated)
        tried = add_golden(
            run.bundle, generator, splits.get("calibration", splits["train"]), run.config.right_golden
        )
        print(f"golden samples, pictures tried for each: {tried}", flush=True)
    for name, figures in _beside(run).items():
        set_beside(run.bundle, name, figures)
    return publish_bundle(run.bundle, run.models, run.replace)


def check_publishing(run: Run) -> None:
    """Refuse what publishing would refuse; asked before any training, for that takes hours."""
    _beside(run)
    check_target(run.models, run.config.name, run.config.version, run.replace)


def _beside(run: Run) -> dict[str, Path | None]:
    """The figures of other runs that are published with this one's, by the name of their file."""
    comparison_folds = None if run.comparison is None else run.comparison / FOLDS
    return {
        COMPARISON: None if run.comparison is None else check_comparison(run.comparison),
        COMPARISON_FOLDS: comparison_folds if comparison_folds and comparison_folds.is_file() else None,
        FOLDS: None if run.folds is None else check_folds(run.folds, run.config),
    }

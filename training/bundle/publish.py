"""Publishing: model card, self-test, and the copy into the models folder."""

import shutil
from pathlib import Path
from typing import Any

from app.inspection.bundle.bundle import Bundle
from training.bundle.model_card import model_card
from training.config import ConfigError, RunConfig, load_run_config
from training.files import read_json, write_text, written_whole
from training.run import CONFIG
from training.sessions import inspector_of

COMPARISON = "evaluation-by-picture.json"
COMPARISON_FOLDS = "cross-validation-by-picture.json"
FOLDS = "cross-validation.json"
# What a cross-validation may have otherwise than the run: which pictures are where, what is only said, and
# what is done with the fitted network.
OTHERWISE = frozenset(
    {"split", "version", "description", "note", "severity", "right_golden", "artifacts", "test_parity"}
)


class PublishError(RuntimeError):
    """The bundle is not fit to be published."""


def check_comparison(run_directory: Path) -> Path:
    """Return the figures of a run split by picture; raises ConfigError for any other run."""
    evaluation = run_directory / "bundle/evaluation.json"
    if not evaluation.is_file():
        raise ConfigError(f"{evaluation} is missing; --comparison takes the folder of an evaluated run")
    if read_json(evaluation)["split"]["by"] != "picture":
        raise ConfigError(f"{evaluation} is not of a run split by picture; only such a run is a comparison")
    return evaluation


def check_folds(directory: Path, config: RunConfig) -> Path:
    """Return the figures of a cross-validation; raises ConfigError where it was not of these settings."""
    result, made_with = directory / FOLDS, directory / CONFIG
    for path in (result, made_with):
        if not path.is_file():
            raise ConfigError(f"{path} is missing; --cross-validation takes the folder of a finished one")
    theirs = load_run_config(made_with).model_dump()
    ours = config.model_dump()
    other = [key for key in ours if key not in OTHERWISE and theirs[key] != ours[key]]
    other += [f"split.{key}" for key in ("by", "train_share") if theirs["split"][key] != ours["split"][key]]
    if other:
        raise ConfigError(
            f"{made_with} has another {other[0]} than this run; its figures are of another model"
        )
    return result


def check_target(models: Path, name: str, version: str, replace: bool) -> Path:
    """Return where the version is published; raises PublishError if it is there and not to be replaced."""
    target = models / name / version
    if target.exists() and not replace:
        raise PublishError(f"{target} is published; raise the version, or give --replace to overwrite it")
    return target


def set_beside(directory: Path, name: str, figures: Path | None) -> None:
    """Put a file of figures beside the bundle's own under that name, or take it out where None."""
    if figures is None:
        (directory / name).unlink(missing_ok=True)
        return
    with written_whole(directory / name) as partial:
        shutil.copyfile(figures, partial)


def figures_beside(directory: Path, name: str) -> dict[str, Any] | None:
    """Return the figures of that name published with a bundle, None where there are none."""
    path = directory / name
    return read_json(path) if path.exists() else None


def folds_beside(directory: Path) -> list[dict[str, Any]]:
    """Return the cross-validations published with a bundle: that of its settings, then the comparison's."""
    found = (figures_beside(directory, name) for name in (FOLDS, COMPARISON_FOLDS))
    return [folds for folds in found if folds is not None]


def publish(directory: Path, models: Path, replace: bool) -> Path:
    """Self-test the bundle, write its model card and copy it to `models/NAME/VERSION`; return that path.

    Raises PublishError where that version exists (and `replace` is not set) or figures are missing;
    SelfTestFailed where the bundle does not reproduce its golden samples.
    """
    bundle = Bundle.load(directory)
    evaluation = directory / "evaluation.json"
    if not evaluation.exists() or not bundle.golden:
        raise PublishError(f"{directory} has no evaluation or golden samples yet; run those stages first")
    target = check_target(models, bundle.name, bundle.version, replace)
    for artifact in bundle.artifacts:
        inspector_of(bundle, artifact).self_test()
    write_text(
        directory / "MODEL_CARD.md",
        model_card(
            bundle, read_json(evaluation), figures_beside(directory, COMPARISON), folds_beside(directory)
        ),
    )
    _copy(directory, target)
    return target


def _copy(directory: Path, target: Path) -> None:
    """Copy the bundle in one step as seen from outside; what it replaces goes only when the new one is in."""
    partial, old = (target.with_name(f".{target.name}.{kind}") for kind in ("partial", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(directory, partial)  # a killed copy must not look like a bundle
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    partial.rename(target)
    shutil.rmtree(old, ignore_errors=True)

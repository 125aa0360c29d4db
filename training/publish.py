"""Publishing: model card, self-test, and the copy into the models folder."""

import shutil
from pathlib import Path

from app.inspection.bundle import Bundle
from app.inspection.inspector import Inspector
from training.bundle_files import read_json, write_text, written_whole
from training.config import ConfigError
from training.model_card import model_card

COMPARISON = "evaluation-by-picture.json"


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


def check_target(models: Path, name: str, version: str, replace: bool) -> Path:
    """Return where the version is published; raises PublishError if it is there and not to be replaced."""
    target = models / name / version
    if target.exists() and not replace:
        raise PublishError(f"{target} is published; raise the version, or give --replace to overwrite it")
    return target


def set_comparison(directory: Path, run_directory: Path | None) -> None:
    """Put the figures of a run split by picture beside the bundle's own, or take them out where None."""
    if run_directory is None:
        (directory / COMPARISON).unlink(missing_ok=True)
        return
    evaluation = check_comparison(run_directory)
    with written_whole(directory / COMPARISON) as partial:
        shutil.copyfile(evaluation, partial)


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
    Inspector.load(directory, device="cpu").self_test()
    comparison = directory / COMPARISON
    beside = read_json(comparison) if comparison.exists() else None
    write_text(directory / "MODEL_CARD.md", model_card(bundle, read_json(evaluation), beside))
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

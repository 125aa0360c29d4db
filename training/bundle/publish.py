"""Publishing: model card, self-test, and the copy into the models folder."""

import shutil
from pathlib import Path
from typing import Any

from app.inspection.bundle.bundle import Bundle
from training.config import ConfigError, RunConfig
from training.config_files import load_run_config
from training.evaluation.document import Document
from training.files import EVALUATION, read_json, write_text, written_whole
from training.rendering import render
from training.run import CONFIG
from training.sessions import inspector_of
from training.statistics import Figures

COMPARISON = "evaluation-by-picture.json"
COMPARISON_CROSS_VALIDATION = "cross-validation-by-picture.json"
CROSS_VALIDATION = "cross-validation.json"
# What a cross-validation may have otherwise than the run: which pictures are where, what is only said, and
# what is done with the fitted network.
OTHERWISE = frozenset(
    {"split", "version", "description", "note", "severity", "right_golden", "artifacts", "test_parity"}
)


class PublishError(RuntimeError):
    """The bundle is not fit to be published."""


def check_comparison(run_directory: Path) -> Path:
    """Return the figures of a run split by picture; raises ConfigError for any other run."""
    evaluation = run_directory / "bundle" / EVALUATION
    if not evaluation.is_file():
        raise ConfigError(f"{evaluation} is missing; --comparison takes the folder of an evaluated run")
    if read_json(evaluation)["split"]["by"] != "picture":
        raise ConfigError(f"{evaluation} is not of a run split by picture; only such a run is a comparison")
    return evaluation


def check_folds(directory: Path, config: RunConfig) -> Path:
    """Return the figures of a cross-validation; raises ConfigError where it was not of these settings."""
    result, made_with = directory / CROSS_VALIDATION, directory / CONFIG
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


def card_of(directory: Path) -> str:
    """The model card of a bundle, from its manifest and the figures beside it.

    The cross-validations are that of its settings, then the comparison's.
    """
    folds = (_figures_beside(directory, name) for name in (CROSS_VALIDATION, COMPARISON_CROSS_VALIDATION))
    return model_card(
        Bundle.load(directory),
        read_json(directory / EVALUATION),
        _figures_beside(directory, COMPARISON),
        [each for each in folds if each is not None],
    )


def _figures_beside(directory: Path, name: str) -> Any:
    """The figures of that name published with a bundle, None where there are none."""
    path = directory / name
    return read_json(path) if path.exists() else None


def model_card(bundle: Bundle, document: Document, by_picture: Document | None, folds: list[Figures]) -> str:
    """Return MODEL_CARD.md of a bundle, with the figures of the run by picture and of cross-validations."""
    values = {
        "bundle": bundle,
        "document": document,
        "test": document["test"],
        "split": document["split"],
        "confidence": f"{document['confidence']:.0%}",
        "by_picture": by_picture,
        "folds": folds,
        "weakest": _weakest(document["gate"]) if "gate" in document else {},
    }
    return render("model_card.md", values)


def _weakest(gate: Figures) -> dict[str, float]:
    """Of each change that the gate should notice, and of each other product, the least AUROC."""
    least: dict[str, float] = {}
    for row in (*gate["changes"], *gate["other_products"]):
        name = row.get("change") or row["product"]
        least[name] = min(row["auroc"], least.get(name, 1.0))
    return least


def publish_bundle(directory: Path, models: Path, replace: bool) -> Path:
    """Self-test the bundle, write its model card and copy it to `models/NAME/VERSION`; return that path.

    Raises PublishError where that version exists (and `replace` is not set) or figures are missing;
    SelfTestFailed where the bundle does not reproduce its golden samples.
    """
    bundle = Bundle.load(directory)
    evaluation = directory / EVALUATION
    if not evaluation.exists() or not bundle.golden:
        raise PublishError(f"{directory} has no evaluation or golden samples yet; run those stages first")
    target = check_target(models, bundle.name, bundle.version, replace)
    for artifact in bundle.artifacts:
        inspector_of(bundle, artifact).self_test()
    write_text(directory / "MODEL_CARD.md", card_of(directory))
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

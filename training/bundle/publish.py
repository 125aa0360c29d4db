"""Publishing: model card, self-test, and the copy to the models folder."""

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
# Settings in which a cross-validation may differ from the run: how images are split, texts, and settings used
# after the fit.
MAY_DIFFER = frozenset(
    {"split", "version", "description", "note", "severity", "right_golden", "artifacts", "test_parity"}
)


class PublishError(RuntimeError):
    """The bundle is not fit to be published."""


def check_comparison(run_directory: Path) -> Path:
    """Return the figures of a run split by image; raises ConfigError for any other run."""
    evaluation = run_directory / "bundle" / EVALUATION
    if not evaluation.is_file():
        raise ConfigError(f"{evaluation} is missing; --comparison takes the folder of an evaluated run")
    if read_json(evaluation)["split"]["by"] != "picture":
        raise ConfigError(f"{evaluation} is not of a run split by image; only such a run is a comparison")
    return evaluation


def check_folds(directory: Path, config: RunConfig) -> Path:
    """Return the figures of a cross-validation; raises ConfigError if its settings differ from the run's."""
    result, made_with = directory / CROSS_VALIDATION, directory / CONFIG
    for path in (result, made_with):
        if not path.is_file():
            raise ConfigError(
                f"{path} is missing; --cross-validation takes the folder of a finished cross-validation"
            )
    theirs = load_run_config(made_with).model_dump()
    ours = config.model_dump()
    other = [key for key in ours if key not in MAY_DIFFER and theirs[key] != ours[key]]
    other += [f"split.{key}" for key in ("by", "train_share") if theirs["split"][key] != ours["split"][key]]
    if other:
        raise ConfigError(
            f"{made_with} has another {other[0]} than this run; its figures are of another model"
        )
    return result


def check_target(models: Path, name: str, version: str, replace: bool) -> Path:
    """Return the folder of the version; raises PublishError if it exists and `replace` is not set."""
    target = models / name / version
    if target.exists() and not replace:
        raise PublishError(f"{target} exists; raise the version, or give --replace to overwrite it")
    return target


def set_beside(directory: Path, name: str, figures: Path | None) -> None:
    """Copy a file of figures into the bundle's folder under that name, or remove that file if None."""
    if figures is None:
        (directory / name).unlink(missing_ok=True)
        return
    with written_whole(directory / name) as partial:
        shutil.copyfile(figures, partial)


def card_of(directory: Path) -> str:
    """The model card of a bundle, from its manifest and the figures in its folder.

    Cross-validations: first that of the bundle's settings, then that of the comparison run.
    """
    folds = (_figures_beside(directory, name) for name in (CROSS_VALIDATION, COMPARISON_CROSS_VALIDATION))
    return model_card(
        Bundle.load(directory),
        read_json(directory / EVALUATION),
        _figures_beside(directory, COMPARISON),
        [each for each in folds if each is not None],
    )


def _figures_beside(directory: Path, name: str) -> Any:
    """The figures of that name in a bundle's folder; None if the file does not exist."""
    path = directory / name
    return read_json(path) if path.exists() else None


def model_card(bundle: Bundle, document: Document, by_picture: Document | None, folds: list[Figures]) -> str:
    """Return MODEL_CARD.md, with the figures of the run split by image and of cross-validations."""
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
    """The lowest AUROC of each change that the gate should detect, and of each other product."""
    least: dict[str, float] = {}
    for row in (*gate["changes"], *gate["other_products"]):
        name = row.get("change") or row["product"]
        least[name] = min(row["auroc"], least.get(name, 1.0))
    return least


def publish_bundle(directory: Path, models: Path, replace: bool) -> Path:
    """Self-test the bundle, write its model card and copy it to `models/NAME/VERSION`; return that path.

    Raises PublishError if that version exists and `replace` is not set, or if figures or golden samples are
    missing; SelfTestFailed if the bundle does not reproduce its golden samples.
    """
    bundle = Bundle.load(directory)
    evaluation = directory / EVALUATION
    if not evaluation.exists() or not bundle.golden:
        raise PublishError(f"{directory} has no evaluation or golden samples yet; run these steps first")
    target = check_target(models, bundle.name, bundle.version, replace)
    for artifact in bundle.artifacts:
        inspector_of(bundle, artifact).self_test()
    write_text(directory / "MODEL_CARD.md", card_of(directory))
    _copy(directory, target)
    return target


def _copy(directory: Path, target: Path) -> None:
    """Copy the bundle atomically; the version it replaces is removed only once the new one is in place."""
    partial, old = (target.with_name(f".{target.name}.{kind}") for kind in ("partial", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(directory, partial)  # a killed copy must not look like a bundle
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    partial.rename(target)
    shutil.rmtree(old, ignore_errors=True)

"""A new version of a bundle from reviewed inspections, measured beside the old one on the same test images.

Images are assigned to the splits by the hash of their part, so a test image stays one when more reviews
arrive: neither this version nor a later one made in the same way is ever fitted to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.inspection.bundle.bundle import Bundle
from training.config import Config, ConfigError, FitConfig, SplitConfig, StageConfig
from training.config_files import load_run_config
from training.data.registry import read_dataset
from training.data.splits import part_of
from training.evaluation.document import Document
from training.evaluation.figures import RATES
from training.evaluation.run import EvaluateOptions, evaluate_bundle
from training.files import write_json
from training.pipeline import go
from training.run import MADE_WITH, SPLITS, Request
from training.statistics import Figures
from training.steps.publish import check_publishing

VALIDATE_EVERY = 50  # steps
OLD, NEW = "old", "new"
SIDE_BY_SIDE = "side-by-side.json"


@dataclass(frozen=True)
class Retraining:
    """What to make a new version from, and where to; `steps` of the fit."""

    data: Path
    bundle: Path
    steps: int
    runs: Path
    models: Path
    command: str


def from_history(asked: Retraining) -> str:
    """Fit, publish and measure a new version of a bundle; returns the table of both.

    The new version is the next number below `models/NAME`. Raises ConfigError if no image of the set
    shows a class that the bundle knows: the new version would not find it any more. Raises DatasetError and
    others as a run.
    """
    old = Bundle.load(asked.bundle)
    dataset = read_dataset(asked.data)
    shown = {name for sample in dataset.samples for name in sample.picture_class.split(",")}
    if missing := [name for name in old.class_names if name not in shown]:
        raise ConfigError(
            f"{asked.data} has no image of {', '.join(missing)}, which {old.name} {old.version} knows; the "
            "new version would not find it any more: add labelled images of it"
        )
    made = load_run_config(asked.bundle / MADE_WITH)
    every = min(VALIDATE_EVERY, asked.steps)
    stage = StageConfig(
        name=old.name,
        version=_next_version(asked.models / old.name),
        description=old.description,
        note=f"Trained on reviewed inspections, from version {old.version}.",
        severity=old.severities,
        split=SplitConfig(by="group"),
        gate=made.gate,
        fit=FitConfig(steps=asked.steps, warmup_share=0.15, ema_decay=0.99, validate_every=every),
        artifacts=made.artifacts,
        right_golden=made.right_golden,
    )
    (run,) = Request(
        config=Config(small=stage),
        data={"large": None, "small": asked.data},
        start=asked.bundle,
        runs=asked.runs,
        models=asked.models,
        command=asked.command,
    ).plan()
    check_publishing(run)
    go(run, "publish")
    test = part_of(dataset, run.directory / SPLITS, "test")
    published = asked.models / run.config.name / run.config.version
    options = EvaluateOptions(command=asked.command, pictures=False)
    found = [
        evaluate_bundle(where, test, run.directory / name, options)
        for name, where in ((OLD, asked.bundle), (NEW, published))
    ]
    figures = {name: document["test"] for name, document in zip((OLD, NEW), found, strict=True)}
    made_with = {"command": asked.command, "new_bundle": str(published)}
    write_json(run.directory / SIDE_BY_SIDE, made_with | figures)
    names = (f"{old.name} {old.version}", f"{run.config.name} {run.config.version}")
    return table_text(names, found)


def table_text(names: Sequence[str], documents: Sequence[Document]) -> str:
    """The main figures of two evaluations on the same images, one line each, with their intervals."""
    tests = [document["test"] for document in documents]
    lines = [f"{tests[0]['pictures']} test images, {tests[0]['defective']} defective", _line("", names)]
    for name in RATES:
        cells = ["-" if test[name] is None else _rate(test[name]) for test in tests]
        lines.append(_line(name.replace("_", " "), cells))
    for title, values in (
        ("AUROC", [test["auroc"] for test in tests]),
        ("Dice", [test["dice"]["per_defective_picture"] for test in tests]),
    ):
        lines.append(_line(title, ["-" if value is None else f"{value:.3f}" for value in values]))
    return "\n".join(lines)


def _rate(found: Figures) -> str:
    low, high = found["interval"]
    return f"{found['value']:.3f} [{low:.3f}, {high:.3f}]"


def _line(title: str, cells: Sequence[str]) -> str:
    return f"{title:<14}" + "".join(f"{cell:>26}" for cell in cells)


def _next_version(folder: Path) -> str:
    """The number after the highest one in a folder of versions."""
    numbers = [int(path.name) for path in folder.glob("*") if path.name.isdecimal()]
    return str(max(numbers, default=0) + 1)

"""The commands that train and evaluate."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.inspection.bundle.bundle import Bundle
from app.inspection.inference.runtime import CPU
from app.inspection.rules.recipe import describe
from training.config import ConfigError, OperatingPointConfig, StageName
from training.config_files import labels_of, load_config
from training.data.registry import read_dataset
from training.data.splits import part_of, published_part
from training.evaluation.figures import summary_text
from training.evaluation.run import EvaluateOptions, evaluate_bundle
from training.files import EVALUATION, REPORT, read_json, write_json
from training.pipeline import go
from training.run import Request, Run
from training.sessions import inspector_of
from training.steps.publish import check_publishing
from training.studies.compare_strategies import compare_strategies, strategy_names
from training.studies.comparison import markdown
from training.studies.cross_validation import cross_validate as cross_validate_run
from training.studies.from_history import Retraining, from_history
from training.studies.gate import gate_study
from training.studies.gate import table_text as gate_table
from training.studies.learning_curve import learning_curve
from training.thresholds.operating_point import choose
from training.thresholds.predictions import score
from training.thresholds.risk_text import table_text


def run(options: argparse.Namespace) -> int:
    """Run every stage from images to a published bundle, or up to the step `--until`."""
    runs = _plan(options)
    for each in runs:
        check_publishing(each)
    for each in runs:
        go(each, options.until)
        where = each.directory
        if options.until == "publish":
            where = each.models / each.config.name / each.config.version
        print(f"published {where}" if options.until == "publish" else f"{where} is done")
        _print_figures(where if options.until == "publish" else each.bundle)
    return 0


def _print_figures(bundle: Path) -> None:
    """Print the main figures of a bundle and the path of its report, if it was evaluated."""
    if (bundle / EVALUATION).is_file():
        document = read_json(bundle / EVALUATION)
        print(summary_text(document["test"], document["confidence"]))
        print(document["certainty"])
        print(f"report: {bundle / REPORT}")


def cross_validate(options: argparse.Namespace) -> int:
    """Cross-validate the last stage of a configuration."""
    return _on_last(options, lambda last: cross_validate_run(last, options.folds, options.repeats)["mean"])


def compare(options: argparse.Namespace) -> int:
    """Compare transfer strategies for the last stage of a configuration."""
    names = strategy_names(options.strategies)
    return _on_last(
        options, lambda last: markdown(compare_strategies(last, names, options.folds, options.repeats))
    )


def curve(options: argparse.Namespace) -> int:
    """Measure the learning curve of the last stage of a configuration."""
    try:
        shares = tuple(float(each) for each in options.shares.split(","))
    except ValueError as error:
        raise ConfigError(f"--shares {options.shares}: give numbers such as 0.1,0.5,1") from error
    if not all(0 < share <= 1 for share in shares):
        raise ConfigError(f"--shares {options.shares}: each must be above 0 and at most 1")
    return _on_last(options, lambda last: learning_curve(last, shares, options.folds)["means"])


def evaluate(options: argparse.Namespace) -> int:
    """Evaluate a bundle on a labelled data set, or on one of its splits."""
    dataset = read_dataset(options.data, options.layout, labels=labels_of(options.labels))
    if options.splits is not None:
        dataset = part_of(dataset, options.splits, options.part)
    others = {}
    for text in options.other:
        name, _, root = text.partition("=")
        if not root:
            raise ConfigError(f"--other {text}: give NAME=ROOT")
        others[name] = published_part(read_dataset(Path(root)))
    asked = EvaluateOptions(
        command=options.command,
        changes=options.changes,
        others=others,
        interval_repeats=options.interval_repeats,
    )
    evaluate_bundle(options.bundle, dataset, options.out, asked)
    print(f"figures: {options.out / EVALUATION}\nreport: {options.out / REPORT}")
    return 0


def retrain(options: argparse.Namespace) -> int:
    """Make a new version of a bundle from reviewed inspections, and compare both."""
    asked = Retraining(
        data=options.data,
        bundle=options.bundle,
        steps=options.steps,
        runs=options.runs,
        models=options.models,
        command=options.command,
    )
    print(from_history(asked))
    return 0


def study_gate(options: argparse.Namespace) -> int:
    """Measure the input gate on a labelled data set by grouped folds, with the features of a bundle."""
    bundle = Bundle.load(options.bundle)
    artifact = next((each for each in bundle.artifacts if CPU in each.providers), bundle.artifacts[0])
    dataset = read_dataset(options.data, options.layout, labels=labels_of(options.labels))
    figures = gate_study(bundle, artifact, dataset.samples, options.folds, options.images)
    made_with = {"command": options.command, "bundle": f"{bundle.name} {bundle.version}"}
    write_json(options.out, made_with | {"artifact": artifact.name} | figures)
    print(f"{gate_table(figures)}\n\nfigures: {options.out}")
    return 0


def operating_point(options: argparse.Namespace) -> int:
    """Print thresholds by risk for each artifact of a bundle; returns 1 if a limit cannot be proven."""
    config = _asked(options)
    dataset = read_dataset(options.data, options.layout, labels=labels_of(options.labels))
    if options.splits is not None:
        dataset = part_of(dataset, options.splits, options.part)
    bundle, status = Bundle.load(options.bundle), 0
    for artifact in bundle.artifacts:
        point = choose(score(inspector_of(bundle, artifact), dataset.samples), config).point
        assert point.chosen is not None
        assert point.trade_off is not None
        print(
            f"{artifact.name}: image threshold {point.image_threshold:.4f}, pixel threshold "
            f"{point.pixel_threshold:g}, smallest area {point.min_area_px} px\n{point.chosen.sentence}\n\n"
            f"{table_text(point.trade_off)}\n"
        )
        status = 1 if point.chosen.met is False else status
    return status


def _asked(options: argparse.Namespace) -> OperatingPointConfig:
    """The operating point configuration from the options; raises ConfigError."""
    asked: dict[str, Any] = {name: getattr(options, name, None) for name in OperatingPointConfig.model_fields}
    if options.cost is not None:
        asked["cost"] = dict(zip(("escape", "overkill"), options.cost, strict=True))
        asked["cost"]["defective_share"] = options.defective_share
    elif options.defective_share is not None:
        raise ConfigError("--defective-share needs --cost; leave it out")
    try:
        return OperatingPointConfig.model_validate(
            {name: value for name, value in asked.items() if value is not None}
        )
    except ValidationError as error:
        raise ConfigError(describe(error)) from error


def _plan(options: argparse.Namespace) -> list[Run]:
    data: dict[StageName, Path | None] = {"large": options.large_data, "small": options.data}
    request = Request(
        config=load_config(options.config),
        data=data,
        start=options.start,
        runs=options.runs,
        models=options.models,
        command=options.command,
        replace=options.replace,
        comparison=options.comparison,
        cross_validation=options.cross_validation,
    )
    return request.plan()


def _on_last(options: argparse.Namespace, study: Callable[[Run], object]) -> int:
    """Run the stages before the last up to export, then study the last."""
    *before, last = _plan(options)
    for each in before:
        go(each, "export")
    print(study(last))
    print(f"results: {last.directory}")
    return 0

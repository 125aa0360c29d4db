"""The step that holds the bundle against the test split."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from app.inspection.bundle.artifact import Artifact, ExpectedRates
from app.inspection.bundle.bundle import Bundle
from app.inspection.inspector import Inspector
from training.bundle.export import serving_graph
from training.config import ConfigError
from training.data.generators import Generator, make_generator, write_samples
from training.data.sample import Sample
from training.data.splits import Splits
from training.evaluation.dataset import evaluate_parts
from training.evaluation.figures import fold_figures, summarise
from training.evaluation.gate import gate_figures, generated_products
from training.evaluation.judged import Judged, judge_samples
from training.evaluation.parity import parity
from training.evaluation.report import write_evaluation_report
from training.files import ARTIFACTS, CALIBRATION, read_json, sha256_of, write_json
from training.model.segmenter import Segmenter
from training.run import Run
from training.steps.artifacts import artifacts_are_made, others_wanted, set_artifacts, with_thresholds
from training.steps.fit import split
from training.steps.unseen import unseen_by
from training.thresholds.learn import learn_artifact
from training.thresholds.operating_point import expected_rates
from training.thresholds.risk_text import certainty

GENERATED_TEST_PICTURES = 100
GENERATED_TEST_SEED = 900_000  # training takes its pictures from the run's own seed


def evaluate(run: Run) -> None:
    """Inspect the test split, once, and freshly generated images; write evaluation.json and its page.

    Of a cross-fitted run all images are the test split: each is inspected by the bundle of the fold that
    holds it, with thresholds chosen on the other folds.
    """
    if (run.bundle / "evaluation.json").exists():
        return
    bundle = with_thresholds(run)
    if others_wanted(run) and not artifacts_are_made(run, bundle):
        raise ConfigError(f"{run.directory / ARTIFACTS} is missing; run the step artifacts first")
    inspector = Inspector.load(run.bundle, device="cpu")
    confidence = run.config.operating_point.confidence
    classes, splits = split(run)
    artifact = inspector.session.artifact
    parts = nested(run, artifact) or [(inspector, splits["test"])]
    evaluation = evaluate_parts(parts, classes, confidence)
    figures: dict[str, Any] = {
        "command": run.command,
        "bundle": {"name": run.config.name, "version": run.config.version, "artifact": artifact.name},
        "split": run.config.split.model_dump(),
        "by_fold": [_of_part(evaluation.judged, samples, confidence) for _, samples in parts],
        "confidence": confidence,
        "calibration": artifact.operating_point.model_dump(mode="json", exclude={"trade_off"}),
        "test": evaluation.figures,
        "certainty": certainty(evaluation.figures, confidence),
        "probability_calibration": _calibration_report(run, artifact),
        "parity": read_json(run.bundle / "parity.json"),
    }
    if (run.directory / ARTIFACTS).exists():
        figures["artifacts"] = read_json(run.directory / ARTIFACTS)
    if run.config.generated is not None:
        generator = make_generator(classes, run.config.generated)
        figures["generated"] = summarise(judge_samples(inspector, _fresh(run, generator)), confidence)
    if artifact.gate is not None:
        others = generated_products(None if run.config.generated is None else run.config.generated.kind)
        own = splits.get("test", splits["train"])
        figures["gate"] = gate_figures(bundle, artifact, own, others, confidence)
    called: dict[str, Sequence[bool]] = {artifact.name: [each.called_defective for each in evaluation.judged]}
    called |= _called_by_others(run, bundle, artifact, splits, figures)
    defective = [each.defective for each in evaluation.judged]
    # Operating points promise what was measured on images that had no part in choosing them.
    of: Literal["test", "out-of-fold"] = "test" if run.config.split.folds is None else "out-of-fold"
    rates = {name: expected_rates(of, defective, each, confidence) for name, each in called.items()}
    set_artifacts(run, [_promising(each, rates) for each in bundle.artifacts])
    write_json(run.directory / "judged.json", [asdict(each) for each in evaluation.judged])
    # Without galleries: they show pictures of the set, which may not be published with the bundle.
    write_evaluation_report(run.bundle / "evaluation.html", figures)
    write_json(run.bundle / "evaluation.json", figures)


def nested(run: Run, artifact: Artifact) -> list[tuple[Inspector, Sequence[Sample]]]:
    """Of each fold an inspector with thresholds chosen on the other folds, and the fold's images.

    None for a run that is not cross-fitted.
    """
    if run.config.split.folds is None:
        return []
    parts = []
    for source, unseen in unseen_by(run):
        sha256 = sha256_of(source.bundle.directory / artifact.file)
        parts.append(unseen.of(artifact.model_copy(update={"sha256": sha256, "gate": None})))
    found: list[tuple[Inspector, Sequence[Sample]]] = []
    for part in parts:
        others = [each for each in parts if each is not part]
        learnt = learn_artifact(others, run.config.operating_point)
        own = part.of(learnt.applied_to(part.inspector.session.artifact))
        found.append((own.inspector, own.samples))
    return found


def _of_part(judged: Sequence[Judged], samples: Sequence[Sample], confidence: float) -> dict[str, Any]:
    """The main figures of one part of the images."""
    names = {sample.name for sample in samples}
    figures = summarise([each for each in judged if each.name in names], confidence)
    return {"pictures": figures["pictures"]} | fold_figures(figures)


def _called_by_others(
    run: Run, bundle: Bundle, main: Artifact, splits: Splits, figures: dict[str, Any]
) -> dict[str, Sequence[bool]]:
    """Which images each artifact but the main one stops; adds parity on the test split to the figures."""
    if run.config.split.folds is not None:
        others = [each for each in bundle.artifacts if each.name != main.name]
        return {each.name: _called(nested(run, each)) for each in others}
    if run.config.test_parity:
        return _test_parity(run, bundle, splits["test"], figures["parity"])
    return {}


def _called(parts: Sequence[tuple[Inspector, Sequence[Sample]]]) -> list[bool]:
    """Which images are stopped, in the order of the parts."""
    return [
        each.called_defective for inspector, samples in parts for each in judge_samples(inspector, samples)
    ]


def _fresh(run: Run, generator: Generator) -> list[Sample]:
    """Generated pictures that nothing has seen."""
    directory = run.directory / "generated"
    shutil.rmtree(directory, ignore_errors=True)  # what a killed run left
    return write_samples(generator, directory, GENERATED_TEST_PICTURES, GENERATED_TEST_SEED)


def _test_parity(
    run: Run, bundle: Bundle, samples: Sequence[Sample], figures: dict[str, Any]
) -> dict[str, Sequence[bool]]:
    """Add parity on the test split to the figures; return which pictures each artifact called defective."""
    segmenter = Segmenter(run.config.model, len(bundle.classes))
    found = parity(bundle, serving_graph(segmenter, run.weights, run.config.gate is not None), samples)
    figures["test"] = found.figures()
    flipped = {name: each.flipped for name, each in found.agreements.items()}
    write_json(run.directory / "flipped.json", flipped)
    return {name: each.called for name, each in found.agreements.items()}


def _calibration_report(run: Run, artifact: Artifact) -> dict[str, Any]:
    """How well the artifact's probabilities are calibrated."""
    if artifact.name == "fp32":
        return dict(read_json(run.directory / CALIBRATION))
    return dict(read_json(run.directory / ARTIFACTS)["tried"][artifact.name]["probability_calibration"])


def _promising(artifact: Artifact, rates: Mapping[str, ExpectedRates]) -> Artifact:
    """The artifact with the rates to expect of it, where they were measured."""
    if artifact.name not in rates:
        return artifact
    point = artifact.operating_point.model_copy(update={"expected": rates[artifact.name]})
    return artifact.model_copy(update={"operating_point": point})

"""The step that measures the bundle on the test split."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Literal

from app.inspection.bundle.artifact import Artifact, ExpectedRates
from app.inspection.bundle.bundle import Bundle
from app.inspection.inspector import Inspector
from training.bundle.artifacts.budget import verdicts_of
from training.bundle.export import serving_graph
from training.config import ConfigError
from training.data.generators import Generator, make_generator, write_samples
from training.data.sample import Sample
from training.evaluation.compared import Compared, compare_samples
from training.evaluation.dataset import evaluate_parts
from training.evaluation.document import Document, document_of
from training.evaluation.figures import fold_figures, summarise
from training.evaluation.gate import gate_figures, generated_products
from training.evaluation.parity import parity
from training.evaluation.report import write_evaluation
from training.files import ARTIFACTS, CALIBRATION, EVALUATION, read_json, sha256_of, write_json
from training.limits import limits
from training.model.segmenter import Segmenter
from training.statistics import Figures
from training.steps.artifacts import (
    artifacts_are_made,
    others_wanted,
    set_artifacts,
    unseen_by,
    with_thresholds,
)
from training.steps.split import SplitRun
from training.thresholds.learn import Unseen, learn_artifact
from training.thresholds.operating_point import expected_rates

GENERATED_TEST_IMAGES = 100
GENERATED_TEST_SEED = 900_000  # training takes its images from the run's own seed


def evaluate(run: SplitRun) -> None:
    """Inspect the test split once, and newly generated images; write evaluation.json and its page.

    In a cross-fitted run, all images are test images: each is inspected with the bundle of its own fold,
    which was not fitted on it, and thresholds chosen on the other folds. A part model without measured
    figures is removed.
    """
    if (run.bundle / EVALUATION).exists():
        return
    bundle = with_thresholds(run)
    if others_wanted(run) and not artifacts_are_made(run, bundle):
        raise ConfigError(f"{run.directory / ARTIFACTS} is missing; run the step artifacts first")
    inspector = Inspector.load(run.bundle, device="cpu", limits=limits())
    confidence = run.config.operating_point.confidence
    parts = [(each.inspector, each.samples) for each in nested(run, inspector.session.artifact)]
    parts = parts or [(inspector, run.splits["test"])]
    evaluation = evaluate_parts(parts, run.classes, confidence)
    bundle = with_measured_parts(bundle, evaluation.figures)
    artifact = next(each for each in bundle.artifacts if each.name == inspector.session.artifact.name)
    document = document_of(run.command, bundle, artifact, evaluation.figures, confidence)
    document["split"] = run.config.split.model_dump()
    document["by_fold"] = [_of_part(evaluation.compared, samples, confidence) for _, samples in parts]
    document["probability_calibration"] = _calibration_report(run, artifact)
    document["parity"] = read_json(run.bundle / "parity.json")
    _add_optional_figures(run, inspector, document)
    called: dict[str, list[bool]] = {artifact.name: [each.called_defective for each in evaluation.compared]}
    called |= _called_by_others(run, bundle, artifact, document["parity"])
    defective = [each.defective for each in evaluation.compared]
    # The expected rates are those of images that thresholds were not chosen on.
    of: Literal["test", "out-of-fold"] = "out-of-fold" if run.folds else "test"
    rates = {name: expected_rates(of, defective, each, confidence) for name, each in called.items()}
    set_artifacts(run, [_with_rates(each, rates) for each in bundle.artifacts])
    write_json(run.directory / "judged.json", [asdict(each) for each in evaluation.compared])
    # No galleries: the images of the data set may not be published with the bundle.
    write_evaluation(run.bundle, document)


def nested(run: SplitRun, artifact: Artifact) -> list[Unseen]:
    """The held-out images of each fold, with thresholds chosen on the other folds; empty without folds."""
    if not run.folds:
        return []
    parts = []
    for source, unseen in unseen_by(run):
        sha256 = sha256_of(source.bundle.directory / artifact.file)
        parts.append(unseen.of(artifact.model_copy(update={"sha256": sha256, "gate": None})))
    found = []
    for part in parts:
        others = [each for each in parts if each is not part]
        learnt = learn_artifact(others, run.config.operating_point)
        found.append(part.of(learnt.applied_to(part.inspector.session.artifact)))
    return found


def with_measured_parts(bundle: Bundle, test: Figures) -> Bundle:
    """The bundle, without its part models if the test images give no figures for the rule `joint`.

    There are none if no part has two images, or if a fold's thresholds have no part model.
    """
    if test["by_part"] is not None and test["by_part"]["joint"] is not None:
        return bundle
    if any(each.operating_point.parts is not None for each in bundle.artifacts):
        print("the part model is removed from the bundle: the test images give no figures for it", flush=True)
    artifacts = tuple(
        each.model_copy(update={"operating_point": each.operating_point.model_copy(update={"parts": None})})
        for each in bundle.artifacts
    )
    return bundle.model_copy(update={"artifacts": artifacts})


def _of_part(compared: Sequence[Compared], samples: Sequence[Sample], confidence: float) -> Figures:
    """The main figures of some of the images."""
    names = {sample.name for sample in samples}
    figures = summarise([each for each in compared if each.name in names], confidence)
    return {"pictures": figures["pictures"]} | fold_figures(figures)


def _add_optional_figures(run: SplitRun, inspector: Inspector, document: Document) -> None:
    """Add the figures of other artifacts, of generated images and of the input gate."""
    config, artifact = run.config, inspector.session.artifact
    if (run.directory / ARTIFACTS).exists():
        document["artifacts"] = read_json(run.directory / ARTIFACTS)
    if config.generated is not None:
        generator = make_generator(run.classes, config.generated)
        compared = compare_samples(inspector, _fresh(run, generator))
        document["generated"] = summarise(compared, document["confidence"])
    if artifact.gate is not None:
        others = generated_products(None if config.generated is None else config.generated.kind)
        own = run.splits.get("test", run.splits["train"])
        document["gate"] = gate_figures(inspector.bundle, artifact, own, others, document["confidence"])


def _called_by_others(
    run: SplitRun, bundle: Bundle, main: Artifact, parity_figures: Figures
) -> dict[str, list[bool]]:
    """Which images each other artifact stops; adds parity on the test split to the figures."""
    if run.folds:
        others = [each for each in bundle.artifacts if each.name != main.name]
        return {each.name: called_by(nested(run, each)) for each in others}
    if run.config.test_parity:
        return _test_parity(run, bundle, parity_figures)
    return {}


def called_by(parts: Sequence[Unseen]) -> list[bool]:
    """Whether each image is stopped, in the order of the parts, from the scores used to choose thresholds."""
    return [
        verdict != "pass"
        for part in parts
        for verdict in verdicts_of(
            part.scored(), part.inspector.session.artifact.operating_point
        ).verdicts.values()
    ]


def _fresh(run: SplitRun, generator: Generator) -> list[Sample]:
    """New generated images, used nowhere else."""
    directory = run.directory / "generated"
    shutil.rmtree(directory, ignore_errors=True)  # left over from a killed run
    return write_samples(generator, directory, GENERATED_TEST_IMAGES, GENERATED_TEST_SEED)


def _test_parity(run: SplitRun, bundle: Bundle, figures: Figures) -> dict[str, list[bool]]:
    """Add parity on the test split to the figures; return which images each artifact found defective."""
    segmenter = Segmenter(run.config.model, len(bundle.classes))
    graph = serving_graph(segmenter, run.weights, run.config.gate is not None)
    found = parity(bundle, graph, run.splits["test"])
    figures["test"] = found.figures()
    flipped = {name: each.flipped for name, each in found.agreements.items()}
    write_json(run.directory / "flipped.json", flipped)
    return {name: each.called for name, each in found.agreements.items()}


def _calibration_report(run: SplitRun, artifact: Artifact) -> Figures:
    """The report of the artifact's probability calibration."""
    if artifact.name == "fp32":
        return dict(read_json(run.directory / CALIBRATION))
    return dict(read_json(run.directory / ARTIFACTS)["tried"][artifact.name]["probability_calibration"])


def _with_rates(artifact: Artifact, rates: Mapping[str, ExpectedRates]) -> Artifact:
    """The artifact with its expected rates, if measured."""
    if artifact.name not in rates:
        return artifact
    point = artifact.operating_point.model_copy(update={"expected": rates[artifact.name]})
    return artifact.model_copy(update={"operating_point": point})

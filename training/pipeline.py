"""The whole journey of one stage: datasets -> fit -> export -> operating point -> evaluate -> publish.

Every step writes into the run's folder and is skipped when its result is there, so a run that was stopped
goes on where it was. The stage `small` is the same journey, from the weights of `large`.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from app.inspection.bundle import (
    MANIFEST,
    Bundle,
    DefectClass,
    OperatingPoint,
    ProbabilityCalibration,
    TrainingSummary,
)
from app.inspection.inspector import Inspector
from app.inspection.preprocess import cut
from training.bundle_files import read_json, read_weights, write_manifest, write_text
from training.calibration import calibrate
from training.config import ConfigError
from training.datamodule import SurfaceDataModule, input_contract
from training.datasets.registry import read_dataset
from training.datasets.sample import Dataset, Sample
from training.datasets.sources import data_sources
from training.evaluation.dataset import evaluate_dataset
from training.evaluation.figures import summarise
from training.evaluation.judged import judge_samples
from training.evaluation.report import write_evaluation_report
from training.export import GRAPH, check_parity, draft_bundle, export_graph
from training.finetune import fit
from training.generators import classes_with_generated, make_generator, write_samples
from training.golden import add_golden
from training.operating_point import choose, expected_rates, score
from training.pictures import GeneratedPictures, Joined, LoadedPictures, load_pictures
from training.publish import (
    COMPARISON,
    COMPARISON_FOLDS,
    FOLDS,
    check_comparison,
    check_folds,
    check_target,
    set_beside,
)
from training.publish import publish as publish_bundle
from training.run import MADE_WITH, WEIGHTS, Run, made_with
from training.segmenter import Segmenter, build_segmenter, transfer
from training.splits import Splits, make_splits
from training.strategies import STRATEGIES, starting_model
from training.transplant.pictures import transplanted_pictures
from training.transplant.transplant import Settings

GENERATED_TEST_PICTURES = 100
GENERATED_TEST_SEED = 900_000  # training takes its pictures from the run's own seed
PARITY_PICTURES = 24


def split(run: Run) -> tuple[tuple[str, ...], Splits]:
    """Return the classes and the splits of the set, and write which picture went where to splits.json."""
    dataset = read_dataset(run.data, run.config.layout)
    splits = make_splits(dataset.samples, run.config.split, run.fold)
    listing = {name: [sample.name for sample in samples] for name, samples in splits.items()}
    path = run.directory / "splits.json"
    if path.exists() and read_json(path) != listing:
        raise ConfigError(
            f"{path} is of other pictures than {run.data}; a test picture could have been trained on"
        )
    _write_json(path, listing)
    return classes_with_generated(dataset.classes, run.config.generated), splits


def finetune(run: Run) -> None:
    """Fit on the training split."""
    if run.weights.exists():
        return
    config = run.config
    classes, splits = split(run)
    scale = config.model.pixel_scale
    real = load_pictures(splits["train"], scale)
    train = Joined(real, *_generated(run, classes), *_transplanted(run, splits["train"], real))
    data = SurfaceDataModule(train, load_pictures(splits["validation"], scale), config)
    fit(initial_segmenter(run, classes), data, config, run.weights.parent)


def initial_segmenter(run: Run, classes: tuple[str, ...]) -> Segmenter:
    """The segmenter that a fit begins with: from the bundle to start from if there is one."""
    config = run.config
    model = starting_model(config.model, config.fit.strategy)
    if run.start is None or not STRATEGIES[config.fit.strategy].pretrained:
        return build_segmenter(model, len(classes), config.seed)
    _require(run.start / WEIGHTS, "export")
    segmenter = build_segmenter(model.model_copy(update={"weights": "none"}), len(classes), config.seed)
    fresh = transfer(read_weights(run.start / WEIGHTS), segmenter)
    print(f"stage {config.stage} starts from {run.start}; new: {', '.join(fresh)}", flush=True)
    return segmenter


def _generated(run: Run, classes: tuple[str, ...]) -> list[GeneratedPictures]:
    generated = run.config.generated
    if generated is None or not generated.pictures:
        return []
    generator = make_generator(classes, generated)
    return [GeneratedPictures(generator, generated, run.config.seed, run.config.model)]


def _transplanted(run: Run, samples: Sequence[Sample], real: LoadedPictures) -> list[LoadedPictures]:
    wanted = run.config.transplants
    if wanted is None:
        return []
    settings = Settings(quantile=wanted.quantile)
    return [transplanted_pictures(samples, real, wanted.pictures, run.config.seed, settings)]


def export(run: Run) -> None:
    """Export the graph, check it against torch on calibration tiles, draft the bundle around it."""
    if (run.bundle / "parity.json").exists():
        return
    _require(run.weights, "fit")
    config = run.config
    classes, splits = split(run)
    segmenter = Segmenter(config.model, len(classes))
    graph = export_graph(segmenter, run.weights, config.model.tile, run.bundle / GRAPH)
    step = max(1, len(splits["calibration"]) // PARITY_PICTURES)
    pictures = load_pictures(splits["calibration"][::step], 1.0)
    tiles = np.concatenate([cut(picture.pixels, input_contract(config.model))[0] for picture in pictures])
    parity = check_parity(graph, run.bundle / GRAPH, tiles)
    severities = tuple(
        DefectClass(name=name, severity=config.severity.get(name, "major")) for name in classes
    )
    draft_bundle(run.bundle, config, severities, _summary(run, splits))
    if config.stage == "large":  # for others to start from
        shutil.copyfile(run.weights, run.bundle / WEIGHTS)
        write_text(run.bundle / MADE_WITH, made_with(config))
    _write_json(run.bundle / "parity.json", parity)


def operating_point(run: Run) -> None:
    """Choose thresholds and probability calibration on the calibration split, with the graph that ships."""
    if _thresholds_are_chosen(run):
        return
    classes, splits = split(run)
    scored = score(Inspector.load(run.bundle, device="cpu"), splits["calibration"])
    calibrated = calibrate(scored, classes)
    _write_json(run.directory / "calibration.json", calibrated.report)
    _set_point(run, choose(scored, run.config.operating_point), calibrated.calibration)


def _thresholds_are_chosen(run: Run) -> bool:
    _require(run.bundle / MANIFEST, "export")
    return Bundle.load(run.bundle).artifacts[0].operating_point.expected is not None


def _set_point(run: Run, point: OperatingPoint, calibration: ProbabilityCalibration | None = None) -> None:
    bundle = Bundle.load(run.bundle)
    artifacts = (bundle.artifacts[0].model_copy(update={"operating_point": point}),)
    changed = {"artifacts": artifacts} | ({"calibration": calibration} if calibration else {})
    write_manifest(run.bundle, bundle.model_copy(update=changed))


def evaluate(run: Run) -> None:
    """Judge the test split, once, and freshly generated pictures; write evaluation.json and its page."""
    if (run.bundle / "evaluation.json").exists():
        return
    if not _thresholds_are_chosen(run):
        raise ConfigError(f"{run.bundle} has no thresholds yet; run the step operating-point first")
    inspector = Inspector.load(run.bundle, device="cpu")
    confidence = run.config.operating_point.confidence
    classes, splits = split(run)
    evaluation = evaluate_dataset(inspector, Dataset(classes, splits["test"]), confidence)
    artifact = inspector.session.artifact
    figures = {
        "command": run.command,
        "bundle": {"name": run.config.name, "version": run.config.version, "artifact": artifact.name},
        "split": run.config.split.model_dump(),
        "confidence": confidence,
        "calibration": artifact.operating_point.model_dump(mode="json"),
        "test": evaluation.figures,
        "probability_calibration": read_json(run.directory / "calibration.json"),
        "parity": read_json(run.bundle / "parity.json"),
    }
    if run.config.generated is not None:
        directory = run.directory / "generated"
        shutil.rmtree(directory, ignore_errors=True)  # what a killed run left
        generator = make_generator(classes, run.config.generated)
        samples = write_samples(generator, directory, GENERATED_TEST_PICTURES, GENERATED_TEST_SEED)
        figures["generated"] = summarise(judge_samples(inspector, samples), confidence)
    # The operating point promises what the test split measured, not what it was chosen on.
    judged = evaluation.judged
    defective, called = [each.defective for each in judged], [each.called_defective for each in judged]
    expected = expected_rates("test", defective, called, confidence)
    _set_point(run, artifact.operating_point.model_copy(update={"expected": expected}))
    _write_json(run.directory / "judged.json", [asdict(each) for each in judged])
    # Without galleries: they show pictures of the set, which may not be published with the bundle.
    write_evaluation_report(run.bundle / "evaluation.html", figures)
    _write_json(run.bundle / "evaluation.json", figures)


def publish(run: Run) -> Path:
    """Add golden samples and the model card, self-test, and copy the bundle to the models folder."""
    _require(run.bundle / "evaluation.json", "evaluate")
    check_publishing(run)
    if not Bundle.load(run.bundle).golden:
        classes, splits = split(run)
        generated = run.config.generated
        generator = None if generated is None else make_generator(classes, generated)
        tried = add_golden(run.bundle, generator, splits["calibration"], run.config.right_golden)
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


STEPS: dict[str, Callable[[Run], object]] = {
    "split": split,
    "fit": finetune,
    "export": export,
    "operating-point": operating_point,
    "evaluate": evaluate,
    "publish": publish,
}


def go(run: Run, until: str) -> None:
    """Take every step of a run up to and with `until`."""
    run.claim()
    for name, step in STEPS.items():
        step(run)
        if name == until:
            return


def _require(path: Path, step: str) -> None:
    if not path.is_file():
        raise ConfigError(f"{path} is missing; run the step {step} first")


def _summary(run: Run, splits: Splits) -> TrainingSummary:
    config = run.config
    stages = [f"encoder {config.model.encoder} from {config.model.weights} weights"]
    before = Bundle.load(run.start).training if run.start is not None else None
    generated = 0 if config.generated is None else config.generated.pictures
    own = data_sources(splits["train"], generated)
    fit_text = f"at most {config.fit.steps} steps of {config.fit.batch_size} tiles of {config.model.tile} px"
    if config.transplants is not None:
        fit_text += f", with up to {config.transplants.pictures} pictures of transplanted defects"
    stages = [*(before.stages if before else stages), f"{config.stage}: {fit_text}"]
    return TrainingSummary(
        data=(*(before.data if before else ()), *own),
        stages=tuple(stages),
        seed=config.seed,
        note=config.note,
    )


def _write_json(path: Path, value: object) -> None:
    write_text(path, json.dumps(value, indent=2) + "\n")

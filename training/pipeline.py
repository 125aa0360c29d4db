"""The whole journey: datasets -> large -> small -> export -> operating point -> evaluate -> publish.

Every stage writes into the run's folder and is skipped when its result is there, so a run that was
stopped goes on where it was.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Literal

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
from training.config import ConfigError
from training.datamodule import SurfaceDataModule, generated_pictures, input_contract, load_pictures
from training.datasets.generated import CLASSES
from training.datasets.magnetic_tile import read_magnetic_tile, write_generated
from training.datasets.sample import DatasetError, Sample
from training.datasets.shards import read_classes, read_shards
from training.datasets.sources import data_sources
from training.evaluate import judge_samples, summarise
from training.export import GRAPH, check_parity, draft_bundle, export_graph
from training.finetune import fit
from training.operating_point import calibrate, choose, expected_rates, score
from training.publish import add_golden, check_comparison, check_target, set_comparison
from training.publish import publish as publish_bundle
from training.run import Run
from training.segmenter import Segmenter, build_segmenter, transfer
from training.splits import Splits, split_samples

LARGE_SHARDS = "large-0*.tar"
LARGE_SHARES = {"train": 0.96, "validation": 0.04}
GENERATED_TEST_PICTURES = 100
GENERATED_TEST_SEED = 900_000  # training takes its pictures from the run's own seed
SEVERITY: dict[str, Literal["minor", "major", "critical"]] = {
    "blowhole": "major",
    "break": "critical",
    "crack": "critical",
    "fray": "major",
    "uneven": "minor",
}
DEFECT_CLASSES = tuple(DefectClass(name=name, severity=SEVERITY[name]) for name in CLASSES)


def split(run: Run) -> Splits:
    """Split the small set, and write which picture went where to splits.json."""
    config = run.config.split
    splits = split_samples(read_magnetic_tile(run.data), config.shares, config.seed, config.by)
    _check_both_kinds(splits)
    listing = {name: [sample.name for sample in samples] for name, samples in splits.items()}
    path = run.directory / "splits.json"
    if path.exists() and read_json(path) != listing:
        raise ConfigError(
            f"{path} is of other pictures than {run.data}; a test picture could have been trained on"
        )
    _write_json(path, listing)
    return splits


def _check_both_kinds(splits: Splits) -> None:
    """Refuse before any training what no threshold could be chosen on and no rate measured on."""
    for name, samples in splits.items():
        defective = sum(sample.defective for sample in samples)
        if defective in (0, len(samples)):
            raise DatasetError(
                f"the {name} split has {len(samples) - defective} good and {defective} defective pictures; "
                "it needs both: add groups of the missing kind or give that split a larger share"
            )


def finetune_large(run: Run) -> None:
    """Fit on the large set, from ImageNet weights."""
    stage = run.config.large
    if stage is None or run.weights("large").exists():
        return
    if run.large_data is None:
        raise ConfigError("the configuration has a large stage; give its data with --large-data")
    segmenter = build_segmenter(run.config.model, len(read_classes(run.large_data)), run.config.seed)
    samples = read_shards(run.large_data, LARGE_SHARDS)
    splits = split_samples(samples, LARGE_SHARES, run.config.seed)
    fit(segmenter, _datamodule(run, splits, "large"), run.config, stage, run.directory / "large")


def finetune_small(run: Run) -> None:
    """Fit on the small set, from the large stage's weights if there are any."""
    if run.weights("small").exists():
        return
    segmenter = build_segmenter(run.config.model, len(CLASSES), run.config.seed)
    if run.config.large is not None:
        _require(run.weights("large"), "large")
        fresh = transfer(read_weights(run.weights("large")), segmenter)
        print(f"stage small starts from stage large; new: {', '.join(fresh)}", flush=True)
    fit(
        segmenter,
        _datamodule(run, split(run), "small"),
        run.config,
        run.config.small,
        run.directory / "small",
    )


def export(run: Run) -> None:
    """Export the graph, check it against torch on calibration tiles, draft the bundle around it."""
    if (run.bundle / "parity.json").exists():
        return
    _require(run.weights("small"), "small")
    config = run.config
    splits = split(run)
    segmenter = Segmenter(config.model, len(CLASSES))
    graph = export_graph(segmenter, run.weights("small"), config.model.tile, run.bundle / GRAPH)
    pictures = load_pictures(splits["calibration"][:: max(1, len(splits["calibration"]) // 24)], 1.0)
    tiles = np.concatenate([cut(picture.pixels, input_contract(config))[0] for picture in pictures])
    parity = check_parity(graph, run.bundle / GRAPH, tiles)
    draft_bundle(run.bundle, config, DEFECT_CLASSES, _summary(run, splits))
    _write_json(run.bundle / "parity.json", parity)


def operating_point(run: Run) -> None:
    """Choose thresholds and probability calibration on the calibration split, with the graph that ships."""
    if _thresholds_are_chosen(run):
        return
    scored = score(Inspector.load(run.bundle, device="cpu"), split(run)["calibration"])
    _set_point(run, choose(scored, run.config.operating_point), calibrate(scored))


def _thresholds_are_chosen(run: Run) -> bool:
    _require(run.bundle / MANIFEST, "export")
    return Bundle.load(run.bundle).artifacts[0].operating_point.expected is not None


def _set_point(run: Run, point: OperatingPoint, calibration: ProbabilityCalibration | None = None) -> None:
    bundle = Bundle.load(run.bundle)
    artifacts = (bundle.artifacts[0].model_copy(update={"operating_point": point}),)
    changed = {"artifacts": artifacts} | ({"calibration": calibration} if calibration else {})
    write_manifest(run.bundle, bundle.model_copy(update=changed))


def evaluate(run: Run) -> None:
    """Judge the test split, once, and freshly generated pictures; write evaluation.json."""
    if (run.bundle / "evaluation.json").exists():
        return
    if not _thresholds_are_chosen(run):
        raise ConfigError(f"{run.bundle} has no thresholds yet; run the stage operating-point first")
    generated = run.directory / "generated"
    shutil.rmtree(generated, ignore_errors=True)  # what a killed run left
    write_generated(generated, GENERATED_TEST_PICTURES, GENERATED_TEST_SEED)
    inspector = Inspector.load(run.bundle, device="cpu")
    confidence = run.config.operating_point.confidence
    judged = judge_samples(inspector, split(run)["test"])
    artifact = inspector.session.artifact
    figures = {
        "command": f"python -m training run --config {run.config_name} --data DATA"
        + (" --large-data LARGE_DATA" if run.config.large else ""),
        "bundle": {"name": run.config.name, "version": run.config.version, "artifact": artifact.name},
        "split": run.config.split.model_dump(),
        "confidence": confidence,
        "calibration": artifact.operating_point.model_dump(mode="json"),
        "test": summarise(judged, confidence),
        "generated": summarise(judge_samples(inspector, read_magnetic_tile(generated)), confidence),
        "parity": read_json(run.bundle / "parity.json"),
    }
    # The operating point promises what the test split measured, not what it was chosen on.
    defective, called = [each.defective for each in judged], [each.called_defective for each in judged]
    expected = expected_rates("test", defective, called, confidence)
    _set_point(run, artifact.operating_point.model_copy(update={"expected": expected}))
    _write_json(run.directory / "judged.json", [asdict(each) for each in judged])
    _write_json(run.bundle / "evaluation.json", figures)


def publish(run: Run) -> Path:
    """Add golden samples and the model card, self-test, and copy the bundle to the models folder."""
    _require(run.bundle / "evaluation.json", "evaluate")
    _check_publishing(run)
    if not Bundle.load(run.bundle).golden:
        tried = add_golden(run.bundle, run.config.right_golden)
        print(f"golden samples, pictures tried for each: {tried}", flush=True)
    set_comparison(run.bundle, run.comparison)
    return publish_bundle(run.bundle, run.models, run.replace)


def _check_publishing(run: Run) -> None:
    """Refuse what publishing would refuse; asked before any training, for that takes hours."""
    if run.comparison is not None:
        check_comparison(run.comparison)
    check_target(run.models, run.config.name, run.config.version, run.replace)


STAGES: dict[str, Callable[[Run], object]] = {
    "split": split,
    "large": finetune_large,
    "small": finetune_small,
    "export": export,
    "operating-point": operating_point,
    "evaluate": evaluate,
    "publish": publish,
}


def run_all(run: Run) -> Path:
    """The whole journey; returns where the bundle was published."""
    _check_publishing(run)
    run.claim()
    split(run)
    finetune_large(run)
    finetune_small(run)
    export(run)
    operating_point(run)
    evaluate(run)
    return publish(run)


def _require(path: Path, stage: str) -> None:
    if not path.is_file():
        raise ConfigError(f"{path} is missing; run the stage {stage} first")


def _datamodule(run: Run, splits: dict[str, list[Sample]], name: str) -> SurfaceDataModule:
    stage = run.config.large if name == "large" else run.config.small
    assert stage is not None
    scale = run.config.model.pixel_scale
    train = load_pictures(splits["train"], scale)
    train += generated_pictures(stage.generated_pictures, run.config.seed, scale)
    return SurfaceDataModule(train, load_pictures(splits["validation"], scale), run.config, stage)


def _summary(run: Run, splits: Splits) -> TrainingSummary:
    config = run.config
    samples = list(splits["train"])
    stages = [f"encoder {config.model.encoder} from {config.model.weights} weights"]
    for name, stage in (("large", config.large), ("small", config.small)):
        if stage is not None:
            stages.append(
                f"{name}: at most {stage.steps} steps of {stage.batch_size} tiles of {config.model.tile} px"
            )
    if config.large is not None and run.large_data is not None:
        samples += split_samples(read_shards(run.large_data, LARGE_SHARDS), LARGE_SHARES, config.seed)[
            "train"
        ]
    generated = sum(stage.generated_pictures for stage in (config.large, config.small) if stage is not None)
    return TrainingSummary(
        data=data_sources(samples, generated), stages=tuple(stages), seed=config.seed, note=config.note
    )


def _write_json(path: Path, value: object) -> None:
    write_text(path, json.dumps(value, indent=2) + "\n")

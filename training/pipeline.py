"""The whole journey: datasets -> large -> small -> export -> operating point -> evaluate -> publish.

Every stage writes into the run's folder and is skipped when its result is there, so a run that was
stopped goes on where it was.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from safetensors.torch import load_file

from app.inspection.bundle import Bundle, DefectClass, ExpectedRates, TrainingSummary
from app.inspection.inspector import Inspector
from app.inspection.preprocess import cut
from training.bundle_files import write_manifest
from training.config import Config, ConfigError
from training.datamodule import SurfaceDataModule, generated_pictures, input_contract, load_pictures
from training.datasets.generated import CLASSES
from training.datasets.magnetic_tile import read_magnetic_tile, write_generated
from training.datasets.sample import Sample
from training.datasets.shards import read_classes, read_shards
from training.datasets.sources import data_sources
from training.evaluate import judge_samples, summarise
from training.export import GRAPH, check_parity, draft_bundle, export_graph
from training.finetune import fit
from training.operating_point import calibrate, choose, score
from training.publish import add_golden
from training.publish import publish as publish_bundle
from training.segmenter import build_segmenter, transfer
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


@dataclass(frozen=True)
class Run:
    """One run: its configuration, data roots, working folder and the folder bundles are published to.

    `replace` overwrites a published version; `comparison` is the folder of a run split by picture, whose
    figures are published beside this one's.
    """

    config: Config
    config_name: str
    data: Path
    large_data: Path | None
    directory: Path
    models: Path
    replace: bool = False
    comparison: Path | None = None

    @property
    def bundle(self) -> Path:
        """The bundle in the making."""
        return self.directory / "bundle"

    def weights(self, stage: str) -> Path:
        """Where a stage leaves its weights."""
        return self.directory / stage / "weights.safetensors"

    def claim(self) -> None:
        """Make the folder this configuration's own; raises ConfigError if it holds another run."""
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / "config.yaml"
        text = yaml.safe_dump(self.config.model_dump(mode="json"), sort_keys=False)
        if path.exists() and Config.model_validate(yaml.safe_load(path.read_text())) != self.config:
            raise ConfigError(
                f"{path} is of another configuration; give another --run folder or remove this one"
            )
        path.write_text(text)


def split(run: Run) -> Splits:
    """Split the small set, and write which picture went where to splits.json."""
    config = run.config.split
    splits = split_samples(read_magnetic_tile(run.data), config.shares, config.seed, config.by)
    listing = {name: [sample.name for sample in samples] for name, samples in splits.items()}
    path = run.directory / "splits.json"
    if path.exists() and json.loads(path.read_text()) != listing:
        raise ConfigError(
            f"{path} is of other pictures than {run.data}; a test picture could have been trained on"
        )
    _write_json(path, listing)
    return splits


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
        fresh = transfer(load_file(run.weights("large")), segmenter)
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
    config = run.config
    splits = split(run)
    segmenter = build_segmenter(config.model, len(CLASSES), config.seed)
    graph = export_graph(segmenter, run.weights("small"), config.model.tile, run.bundle / GRAPH)
    pictures = load_pictures(splits["calibration"][:: max(1, len(splits["calibration"]) // 24)], 1.0)
    tiles = np.concatenate([cut(picture.pixels, input_contract(config))[0] for picture in pictures])
    parity = check_parity(graph, run.bundle / GRAPH, tiles)
    draft_bundle(run.bundle, config, DEFECT_CLASSES, _summary(run, splits))
    _write_json(run.bundle / "parity.json", parity)


def operating_point(run: Run) -> None:
    """Choose thresholds and probability calibration on the calibration split, with the graph that ships."""
    bundle = Bundle.load(run.bundle)
    if bundle.artifacts[0].operating_point.expected is not None:
        return
    scored = score(Inspector.load(run.bundle, device="cpu"), split(run)["calibration"])
    artifact = bundle.artifacts[0].model_copy(
        update={"operating_point": choose(scored, run.config.operating_point)}
    )
    write_manifest(
        run.bundle, bundle.model_copy(update={"artifacts": (artifact,), "calibration": calibrate(scored)})
    )


def evaluate(run: Run) -> None:
    """Judge the test split, once, and freshly generated pictures; write evaluation.json."""
    if (run.bundle / "evaluation.json").exists():
        return
    generated = run.directory / "generated"
    write_generated(generated, GENERATED_TEST_PICTURES, GENERATED_TEST_SEED)
    inspector = Inspector.load(run.bundle, device="cpu")
    confidence = run.config.operating_point.confidence
    judged = judge_samples(inspector, split(run)["test"])
    artifact = inspector.session.artifact
    test = summarise(judged, confidence)
    figures = {
        "command": f"python -m training run --config {run.config_name} --data DATA"
        + (" --large-data LARGE_DATA" if run.config.large else ""),
        "bundle": {"name": run.config.name, "version": run.config.version, "artifact": artifact.name},
        "split": run.config.split.model_dump(),
        "confidence": confidence,
        "calibration": artifact.operating_point.model_dump(mode="json"),
        "test": test,
        "generated": summarise(judge_samples(inspector, read_magnetic_tile(generated)), confidence),
        "parity": json.loads((run.bundle / "parity.json").read_text()),
    }
    _expect(run, test)
    _write_json(run.directory / "judged.json", [asdict(each) for each in judged])
    _write_json(run.bundle / "evaluation.json", figures)


def _expect(run: Run, test: dict[str, Any]) -> None:
    """Have the operating point promise what the test split measured, not what it was chosen on."""
    bundle = Bundle.load(run.bundle)
    artifact = bundle.artifacts[0]
    expected = ExpectedRates(
        split="test",
        confidence=run.config.operating_point.confidence,
        defective=test["defective"],
        good=test["good"],
        escape_rate=test["escape_rate"]["value"],
        escape_interval=tuple(test["escape_rate"]["interval"]),
        overkill_rate=test["overkill_rate"]["value"],
        overkill_interval=tuple(test["overkill_rate"]["interval"]),
    )
    point = artifact.operating_point.model_copy(update={"expected": expected})
    artifacts = (artifact.model_copy(update={"operating_point": point}),)
    write_manifest(run.bundle, bundle.model_copy(update={"artifacts": artifacts}))


def publish(run: Run) -> Path:
    """Add golden samples and the model card, self-test, and copy the bundle to the models folder."""
    if not Bundle.load(run.bundle).golden:
        tried = add_golden(run.bundle, run.config.right_golden)
        print(f"golden samples, pictures tried for each: {tried}", flush=True)
    if run.comparison is not None:
        _add_comparison(run.comparison / "bundle/evaluation.json", run.bundle)
    return publish_bundle(run.bundle, run.models, run.replace)


def _add_comparison(evaluation: Path, bundle: Path) -> None:
    if not evaluation.is_file():
        raise ConfigError(f"{evaluation} is missing; --comparison takes the folder of an evaluated run")
    if json.loads(evaluation.read_text())["split"]["by"] != "picture":
        raise ConfigError(f"{evaluation} is not of a run split by picture; only such a run is a comparison")
    shutil.copyfile(evaluation, bundle / "evaluation-by-picture.json")


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
    run.claim()
    split(run)
    finetune_large(run)
    finetune_small(run)
    export(run)
    operating_point(run)
    evaluate(run)
    return publish(run)


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
    path.write_text(json.dumps(value, indent=2) + "\n")

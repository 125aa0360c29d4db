"""The steps from pictures to fitted weights."""

from collections.abc import Sequence
from dataclasses import replace

from app.inspection.decoding.decode import DecodeLimits, decode
from app.inspection.inference.tiling import plan_tiles
from training.config import ConfigError, GateConfig, RunConfig, load_run_config
from training.data.datamodule import SurfaceDataModule, input_contract
from training.data.generators import classes_with_generated, make_generator
from training.data.pictures import GeneratedPictures, Joined, LoadedPictures, load_pictures
from training.data.registry import read_dataset
from training.data.sample import Dataset, DatasetError, Sample, named
from training.data.splits import Splits, make_splits
from training.files import read_json, read_weights, require, write_json
from training.model.finetune import fit
from training.model.segmenter import Segmenter, build_segmenter, transfer
from training.model.strategies import STRATEGIES, starting_model
from training.run import MADE_WITH, WEIGHTS, Run
from training.thresholds.input_gate import Known, check_enough, training_pictures
from training.transplant.transplant import Settings, transplanted_pictures

# Of another kind of decoder nothing is taken over: what fits by shape is of other layers.
OF_DECODER = ("unet.decoder.", "unet.segmentation_head.")
_JUDGED = ("calibration", "test")  # by the bundle, as the service judges


def split(run: Run) -> tuple[tuple[str, ...], Splits]:
    """Return the classes and the splits of the set, and write which picture went where to splits.json."""
    found = read_dataset(run.data, run.config.layout, labels=run.config.labels)
    dataset = replace(found, classes=classes_with_generated(found.classes, run.config.generated))
    splits = make_splits(dataset.samples, run.config.split, run.fold)
    listing = {name: [sample.name for sample in samples] for name, samples in splits.items()}
    path = run.directory / "splits.json"
    if not path.exists():
        print(*(f"note: {note}" for note in dataset.notes), sep="\n", end="\n" if dataset.notes else "")
        check_set(run.config, dataset, splits)
    elif read_json(path) != listing:
        raise ConfigError(
            f"{path} is of other pictures than {run.data}; a test picture could have been trained on"
        )
    write_json(path, listing)
    if run.config.gate is not None:
        check_enough(known_pictures(run, run.config.gate, dataset.classes, splits["train"]))
    return dataset.classes, splits


def finetune(run: Run) -> None:
    """Fit on the training split."""
    if run.weights.exists():
        return
    config = run.config
    classes, splits = split(run)
    scale = config.model.pixel_scale
    real = load_pictures(splits["train"], scale)
    train = Joined(real, *_transplanted(run, splits["train"], real), *_generated(run, classes, scale))
    watched = (
        splits.get("validation") or splits.get("test") or []
    )  # of a fold: to watch, nothing is chosen by it
    data = SurfaceDataModule(train, load_pictures(watched, scale), config)
    fit(initial_segmenter(run, classes), data, config, run.weights.parent)


def initial_segmenter(run: Run, classes: tuple[str, ...]) -> Segmenter:
    """The segmenter that a fit begins with: from the bundle to start from if there is one."""
    config = run.config
    model = starting_model(config.model, config.fit.strategy)
    if run.start is None or not STRATEGIES[config.fit.strategy].pretrained:
        return build_segmenter(model, len(classes), config.seed)
    require(run.start / WEIGHTS, "export")
    segmenter = build_segmenter(model.model_copy(update={"weights": "none"}), len(classes), config.seed)
    weights = read_weights(run.start / WEIGHTS)
    if load_run_config(run.start / MADE_WITH).model.decoder != model.decoder:
        weights = {name: each for name, each in weights.items() if not name.startswith(OF_DECODER)}
    fresh = transfer(weights, segmenter)
    print(f"stage {config.stage} starts from {run.start}; new: {', '.join(fresh)}", flush=True)
    return segmenter


def _generated(run: Run, classes: tuple[str, ...], pixel_scale: float) -> list[GeneratedPictures]:
    generated = run.config.generated
    if generated is None or not generated.pictures:
        return []
    generator = make_generator(classes, generated)
    model = run.config.model.model_copy(update={"pixel_scale": pixel_scale})
    return [GeneratedPictures(generator, generated, run.config.seed, model)]


def _transplanted(run: Run, samples: Sequence[Sample], real: LoadedPictures) -> list[LoadedPictures]:
    wanted = run.config.transplants
    if wanted is None:
        return []
    settings = Settings(quantile=wanted.quantile)
    return [transplanted_pictures(samples, real, wanted.pictures, run.config.seed, settings)]


def known_pictures(
    run: Run, config: GateConfig, classes: tuple[str, ...], samples: Sequence[Sample]
) -> list[Known]:
    """The pictures that the input gate learns from, in their own scale."""
    return training_pictures(samples, _generated(run, classes, 1.0), config.pictures)


def check_set(config: RunConfig, dataset: Dataset, splits: Splits) -> None:
    """Refuse what the steps after the fit would refuse, and tell how many pictures no split has.

    This decodes the pictures that those steps judge. Raises ConfigError for a severity of no class;
    DatasetError for a picture that the service would refuse, such as one below the least side, for a mask
    that does not fit, and for a calibration split without any mask.
    """
    unknown = sorted(set(config.severity) - set(dataset.classes))
    if unknown:
        raise ConfigError(f"severity names {unknown[0]}; the classes are {', '.join(dataset.classes)}")
    judged = _JUDGED if config.split.folds is None else tuple(splits)
    marked = {part: _marked(config, splits, part) for part in judged}
    if not marked[judged[0]]:
        raise DatasetError(
            f"no defective image of the {judged[0]} split has a mask, and thresholds are chosen on masks: "
            "mark the defects of more images, or give that split a larger share"
        )
    if left_out := len(dataset.samples) - sum(map(len, splits.values())):
        print(
            f"{left_out} of {len(dataset.samples)} pictures are in no split: they are beyond train_share, or "
            "of groups in the published test split",
            flush=True,
        )


def _marked(config: RunConfig, splits: Splits, part: str) -> int:
    """How many defective pictures of a split have a mask that marks something."""
    contract = input_contract(config.model)
    limits = DecodeLimits(min_side_px=contract.min_side_px)
    count = 0
    for sample in splits[part]:
        with named(sample.name, sample.image):
            height, width = decode(sample.image.read(), limits).shape[:2]
            plan_tiles(height, width, contract)
        count += sample.defective and sample.class_bits((height, width)) is not None
    return count

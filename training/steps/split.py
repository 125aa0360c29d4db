"""The step that reads and divides the data set, once, and what it hands to all others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.inspection.decoding.decode import DecodeLimits, decode
from app.inspection.inference.tiling import plan_tiles
from training.config import ConfigError, GateConfig, RunConfig
from training.data.datamodule import input_contract
from training.data.generators import classes_with_generated, make_generator
from training.data.pictures import GeneratedPictures
from training.data.registry import read_dataset
from training.data.sample import Dataset, DatasetError, Sample, named
from training.data.splits import Splits, make_splits
from training.files import read_json, write_json
from training.run import Run
from training.thresholds.input_gate import Known, check_enough, training_pictures

_JUDGED = ("calibration", "test")  # by the bundle, as the service judges


@dataclass(frozen=True, kw_only=True)
class SplitRun(Run):
    """A run whose data set is read and divided: what every step after that takes.

    `folds` are those of a cross-fitted run: each trains on all images but its own, which are its test split.
    """

    classes: tuple[str, ...]
    splits: Splits
    folds: tuple["SplitRun", ...]


def read_data(run: Run) -> Dataset:
    """Read the data set of a run, with the classes that it generates."""
    found = read_dataset(run.data, run.config.layout)
    return replace(found, classes=classes_with_generated(found.classes, run.config.generated))


def split(run: Run, dataset: Dataset | None = None) -> SplitRun:
    """Divide the data set, read unless it is given, and the folds of a cross-fitted run; write splits.json.

    Raises ConfigError where the folder is of another run, or was divided with other images.
    """
    run.claim()
    dataset = read_data(run) if dataset is None else dataset
    splits = make_splits(dataset.samples, run.config.split, run.fold)
    listing = {name: [sample.name for sample in samples] for name, samples in splits.items()}
    path = run.directory / "splits.json"
    if not path.exists():
        check_set(run.config, dataset, splits)
    elif read_json(path) != listing:
        raise ConfigError(
            f"{path} is of other images than {run.data}; a test image could have been trained on"
        )
    if run.config.gate is not None:
        check_enough(known_pictures(run, run.config.gate, dataset.classes, splits["train"]))
    folds = tuple(split(fold, dataset) for fold in _folds(run))
    write_json(path, listing)
    return SplitRun(**vars(run), classes=dataset.classes, splits=splits, folds=folds)


def _folds(run: Run) -> list[Run]:
    """The folds of a cross-fitted run; none of another."""
    count = run.config.split.folds
    return [] if count is None or run.fold is not None else run.of_folds(count)


def known_pictures(
    run: Run, config: GateConfig, classes: tuple[str, ...], samples: Sequence[Sample]
) -> list[Known]:
    """The pictures that the input gate learns from, in their own scale."""
    return training_pictures(samples, generated_pictures(run, classes, 1.0), config.pictures)


def generated_pictures(run: Run, classes: tuple[str, ...], pixel_scale: float) -> list[GeneratedPictures]:
    """The generated images of the training split, in a scale; none where none are asked for."""
    generated = run.config.generated
    if generated is None or not generated.pictures:
        return []
    generator = make_generator(classes, generated)
    model = run.config.model.model_copy(update={"pixel_scale": pixel_scale})
    return [GeneratedPictures(generator, generated, run.config.seed, model)]


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

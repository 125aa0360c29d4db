"""The step that reads and divides the data set, and its result, which all later steps take."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.inspection.decoding.decode import decode
from app.inspection.inference.tiling import plan_tiles
from training.config import ConfigError, GateConfig, RunConfig
from training.data.contents import (
    CONTENTS,
    TRAINED_ON,
    Content,
    contents_of,
    difference,
    read_contents,
    read_trained_on,
    write_contents,
)
from training.data.datamodule import input_contract
from training.data.generators import classes_with_generated, make_generator
from training.data.pictures import GeneratedPictures
from training.data.registry import read_dataset
from training.data.sample import Dataset, DatasetError, Sample, named
from training.data.splits import Splits, make_splits
from training.files import read_json, write_json
from training.limits import limits
from training.run import SPLITS, Run
from training.thresholds.input_gate import Known, check_enough, training_images

_INSPECTED = ("calibration", "test")  # splits that the bundle inspects


@dataclass(frozen=True, kw_only=True)
class SplitRun(Run):
    """A run whose data set is read and divided, as taken by every later step.

    `folds` are those of a cross-fitted run. Each trains on all images except its own, which are its test
    split.
    """

    classes: tuple[str, ...]
    splits: Splits
    folds: tuple["SplitRun", ...]


def read_data(run: Run) -> Dataset:
    """Read the data set of a run, with the classes that it generates."""
    found = read_dataset(run.data, run.config.layout, labels=run.config.labels)
    return replace(found, classes=classes_with_generated(found.classes, run.config.generated))


def split(run: Run, dataset: Dataset | None = None) -> SplitRun:
    """Divide the data set, also into the folds of a cross-fitted run, and write splits.json.

    The data set is read unless given. Raises ConfigError if the folder belongs to another run, if something
    in it was fitted to other images or labels, or if the weights to start from were fitted to images that
    this run measures on.
    """
    run.claim()
    dataset = read_data(run) if dataset is None else dataset
    return _split(run, dataset, contents_of(dataset))


def _split(run: Run, dataset: Dataset, contents: dict[str, Content]) -> SplitRun:
    splits = make_splits(dataset.samples, run.config.split, run.fold)
    listing = {name: [sample.name for sample in samples] for name, samples in splits.items()}
    changed = _changed(run, listing, contents)
    if changed and not run.is_prepared_only:
        raise ConfigError(f"{changed}; give another --runs folder, or remove this one to start over")
    if changed or not (run.directory / SPLITS).exists():
        _check(run, dataset, splits)
    _refuse_seen(run, splits, contents)
    folds = _folds(run)
    for fold in folds:
        fold.claim()
    divided = tuple(_split(fold, dataset, contents) for fold in folds)
    write_contents(run.directory / CONTENTS, contents)
    write_json(run.directory / SPLITS, listing)
    return SplitRun(**vars(run), classes=dataset.classes, splits=splits, folds=divided)


def _changed(run: Run, listing: dict[str, list[str]], contents: dict[str, Content]) -> str | None:
    """What has changed since the data set was divided; None if nothing.

    After a change, the network may have been fitted to other labels, or to a test image.
    """
    path, before = run.directory / SPLITS, run.directory / CONTENTS
    if not path.exists():
        return None
    if not before.exists():
        return f"{path} was divided by an earlier version, by other rules"
    if found := difference(read_contents(before), contents):
        return (
            f"{path} is of other images or labels than {run.data}: {found}; a test image could have been "
            "trained on"
        )
    return None if read_json(path) == listing else f"{path} divides {run.data} differently than this run"


def _check(run: Run, dataset: Dataset, splits: Splits) -> None:
    """Raise the errors of later steps early, before anything is fitted."""
    if run.fold is None or run.config.split.folds is None:  # a cross-fitted run has checked all images
        check_set(run.config, dataset, splits)
    if run.config.gate is not None:
        check_enough(known_images(run, run.config.gate, dataset.classes, splits["train"]))


def _refuse_seen(run: Run, splits: Splits, contents: dict[str, Content]) -> None:
    """Raise ConfigError if the weights to start from were fitted to images that this run measures on."""
    if run.start_weights is None:
        return
    seen = read_trained_on(run.start_weights.with_name(TRAINED_ON))
    for part, samples in splits.items():
        known = [sample.name for sample in samples if contents[sample.name].image in seen]
        if known and part != "train":
            raise ConfigError(
                f"{run.start} was trained on {known[0]} ({len(known)} such images), which is in the {part} "
                "split of this run: thresholds and figures would be too good. Use the `split` of the run "
                "that made it, remove copies (`data check` finds them), or start from the bundle it started "
                "from"
            )


def _folds(run: Run) -> list[Run]:
    """The folds of a cross-fitted run; empty for other runs."""
    count = run.config.split.folds
    return [] if count is None or run.fold is not None else run.of_folds(count)


def known_images(
    run: Run, config: GateConfig, classes: tuple[str, ...], samples: Sequence[Sample]
) -> list[Known]:
    """The images that the input gate is fitted to, at their own scale."""
    return training_images(samples, generated_images(run, classes, 1.0), config.pictures)


def generated_images(run: Run, classes: tuple[str, ...], pixel_scale: float) -> list[GeneratedPictures]:
    """The generated images of the training split at a scale; empty if none are configured."""
    generated = run.config.generated
    if generated is None or not generated.pictures:
        return []
    generator = make_generator(classes, generated)
    model = run.config.model.model_copy(update={"pixel_scale": pixel_scale})
    return [GeneratedPictures(generator, generated, run.config.seed, model)]


def check_set(config: RunConfig, dataset: Dataset, splits: Splits) -> None:
    """Raise the errors of later steps early; print notes, and how many images are in no split.

    This decodes the images that later steps inspect. Raises ConfigError if a severity is of an unknown class;
    DatasetError for an image that the service would refuse, such as one that is too small, for a mask that
    does not fit its image, and for a calibration split without any mask.
    """
    for note in dataset.notes:
        print(f"note: {note}", flush=True)
    unknown = sorted(set(config.severity) - set(dataset.classes))
    if unknown:
        raise ConfigError(f"severity names {unknown[0]}; the classes are {', '.join(dataset.classes)}")
    inspected = _INSPECTED if config.split.folds is None else tuple(splits)
    marked = {part: _marked(config, splits, part) for part in inspected}
    if not marked[inspected[0]]:
        raise DatasetError(
            f"no defective image of the {inspected[0]} split has a mask; thresholds are chosen on masks: "
            "mark the defects of more images, or give that split a larger share"
        )
    if left_out := len(dataset.samples) - sum(map(len, splits.values())):
        print(
            f"{left_out} of {len(dataset.samples)} images are in no split: train_share leaves them out, or "
            "their groups are in the published test split",
            flush=True,
        )


def _marked(config: RunConfig, splits: Splits, part: str) -> int:
    """How many defective images of a split have a mask with marks."""
    contract = input_contract(config.model)
    bounds = limits(contract.min_side_px)
    count = 0
    for sample in splits[part]:
        with named(sample.name, sample.image):
            height, width = decode(sample.image.read(), bounds).shape[:2]
            plan_tiles(height, width, contract)
        count += sample.defective and sample.class_bits((height, width)) is not None
    return count

"""The step that reads and divides the data set, once, and what it hands to all others."""

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
    found = read_dataset(run.data, run.config.layout, labels=run.config.labels)
    return replace(found, classes=classes_with_generated(found.classes, run.config.generated))


def split(run: Run, dataset: Dataset | None = None) -> SplitRun:
    """Divide the data set, read unless it is given, and the folds of a cross-fitted run; write splits.json.

    Raises ConfigError where the folder is of another run, or something in it was fitted to other images or
    labels, or the weights to start from were fitted to images that this run measures on.
    """
    run.claim()
    dataset = read_data(run) if dataset is None else dataset
    return _split(run, dataset, contents_of(dataset))


def _split(run: Run, dataset: Dataset, contents: dict[str, Content]) -> SplitRun:
    splits = make_splits(dataset.samples, run.config.split, run.fold)
    listing = {name: [sample.name for sample in samples] for name, samples in splits.items()}
    changed = _changed(run, listing, contents)
    if changed and not run.is_prepared_only:
        raise ConfigError(f"{changed}; give another --runs folder, or remove this one to begin anew")
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
    """Say what differs from when the set was divided: new labels, or a test image, may have been learnt."""
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
    return None if read_json(path) == listing else f"{path} is divided otherwise than {run.data} is now"


def _check(run: Run, dataset: Dataset, splits: Splits) -> None:
    """Refuse, before anything is fitted, what later steps would refuse."""
    if run.fold is None or run.config.split.folds is None:  # of a cross-fitted run all images were checked
        check_set(run.config, dataset, splits)
    if run.config.gate is not None:
        check_enough(known_pictures(run, run.config.gate, dataset.classes, splits["train"]))


def _refuse_seen(run: Run, splits: Splits, contents: dict[str, Content]) -> None:
    """Refuse to measure on images that the weights to start from know: figures would be too good."""
    if run.start_weights is None:
        return
    seen = read_trained_on(run.start_weights.with_name(TRAINED_ON))
    for part, samples in splits.items():
        known = [sample.name for sample in samples if contents[sample.name].image in seen]
        if known and part != "train":
            raise ConfigError(
                f"{run.start} was trained on {known[0]} ({len(known)} such images), which is in the {part} "
                "split of this run: thresholds and figures would be too good. Keep the `split` of the run "
                "that made it, remove copies (`data check` finds them), or start from what it started from"
            )


def _folds(run: Run) -> list[Run]:
    """The folds of a cross-fitted run; none of another."""
    count = run.config.split.folds
    return [] if count is None or run.fold is not None else run.of_folds(count)


def known_pictures(
    run: Run, config: GateConfig, classes: tuple[str, ...], samples: Sequence[Sample]
) -> list[Known]:
    """The images that the input gate learns from, in their own scale."""
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
    """Refuse what the steps after the fit would refuse; print notes, and how many images no split has.

    This decodes the images that those steps judge. Raises ConfigError for a severity of no class;
    DatasetError for an image that the service would refuse, such as one below the least side, for a mask
    that does not fit, and for a calibration split without any mask.
    """
    for note in dataset.notes:
        print(f"note: {note}", flush=True)
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
            f"{left_out} of {len(dataset.samples)} images are in no split: they are beyond train_share, or "
            "of groups in the published test split",
            flush=True,
        )


def _marked(config: RunConfig, splits: Splits, part: str) -> int:
    """How many defective images of a split have a mask that marks something."""
    contract = input_contract(config.model)
    bounds = limits(contract.min_side_px)
    count = 0
    for sample in splits[part]:
        with named(sample.name, sample.image):
            height, width = decode(sample.image.read(), bounds).shape[:2]
            plan_tiles(height, width, contract)
        count += sample.defective and sample.class_bits((height, width)) is not None
    return count

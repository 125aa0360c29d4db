"""The steps from pictures to fitted weights."""

from collections.abc import Sequence
from dataclasses import replace

from training.config import ConfigError, GateConfig, load_run_config
from training.data.datamodule import SurfaceDataModule
from training.data.generators import classes_with_generated, make_generator
from training.data.pictures import GeneratedPictures, Joined, LoadedPictures, load_pictures
from training.data.registry import read_dataset
from training.data.sample import Sample
from training.data.splits import Splits, make_splits
from training.files import read_json, read_weights
from training.model.finetune import fit
from training.model.segmenter import Segmenter, build_segmenter, transfer
from training.model.strategies import STRATEGIES, starting_model
from training.run import MADE_WITH, WEIGHTS, Run
from training.steps.files import require, write_json
from training.steps.preconditions import check_set
from training.thresholds.input_gate import Known, check_enough, training_pictures
from training.transplant.pictures import transplanted_pictures
from training.transplant.transplant import Settings

# Of another kind of decoder nothing is taken over: what fits by shape is of other layers.
OF_DECODER = ("unet.decoder.", "unet.segmentation_head.")


def split(run: Run) -> tuple[tuple[str, ...], Splits]:
    """Return the classes and the splits of the set, and write which picture went where to splits.json."""
    found = read_dataset(run.data, run.config.layout)
    dataset = replace(found, classes=classes_with_generated(found.classes, run.config.generated))
    splits = make_splits(dataset.samples, run.config.split, run.fold)
    listing = {name: [sample.name for sample in samples] for name, samples in splits.items()}
    path = run.directory / "splits.json"
    if not path.exists():
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

"""The step that fits the network."""

from collections.abc import Sequence

from app.inspection.bundle.bundle import Bundle
from training.config_files import load_run_config
from training.data.datamodule import SurfaceDataModule
from training.data.pictures import Joined, LoadedPictures, load_pictures
from training.data.sample import Sample
from training.files import read_weights, require
from training.model.finetune import Progress, fit
from training.model.segmenter import Segmenter, build_segmenter, by_class, transfer
from training.model.strategies import STRATEGIES, starting_model
from training.run import MADE_WITH, Run
from training.steps.split import SplitRun, generated_images
from training.transplant.transplant import TransplantSettings, transplanted_images

# Nothing is copied from another kind of decoder: tensors of the same shape belong to other layers.
OF_DECODER = ("unet.decoder.", "unet.segmentation_head.")


def finetune(run: SplitRun) -> None:
    """Fit the network on the training split."""
    if run.weights.exists():
        return
    config, splits = run.config, run.splits
    scale = config.model.pixel_scale
    real = load_pictures(splits["train"], scale)
    generated = generated_images(run, run.classes, scale)
    train = Joined(real, *_transplanted(run, splits["train"], real), *generated)
    # The test images of a fold are only monitored; nothing is chosen on them.
    monitored = splits.get("validation") or splits.get("test") or []
    data = SurfaceDataModule(train, load_pictures(monitored, scale), config)
    progress = Progress(_which(run))
    fit(initial_segmenter(run, run.classes), data, config, run.weights.parent, [progress])


def _which(run: SplitRun) -> str:
    """The name of this fit, with its number."""
    count = run.config.split.folds
    if run.fold is not None:
        return f"fold {run.fold.number + 1} of {run.fold.count}"
    return "fit" if count is None else f"fit on all images, after {count} folds"


def initial_segmenter(run: Run, classes: tuple[str, ...]) -> Segmenter:
    """The segmenter that a fit starts with, with the weights of the bundle to start from if there is one."""
    config = run.config
    model = starting_model(config.model, config.fit.strategy)
    if run.start is None or not STRATEGIES[config.fit.strategy].pretrained:
        return build_segmenter(model, len(classes), config.seed)
    assert run.start_weights is not None
    require(run.start_weights, "export")
    segmenter = build_segmenter(model.model_copy(update={"weights": "none"}), len(classes), config.seed)
    weights, before = read_weights(run.start_weights), Bundle.load(run.start).class_names
    weights = by_class(weights, before, segmenter, classes)
    if load_run_config(run.start / MADE_WITH).model.decoder != model.decoder:
        weights = {name: each for name, each in weights.items() if not name.startswith(OF_DECODER)}
    fresh = transfer(weights, segmenter) + [f"class {name}" for name in classes if name not in before]
    print(f"stage {config.stage} starts from {run.start}; new: {', '.join(fresh) or 'nothing'}", flush=True)
    return segmenter


def _transplanted(run: Run, samples: Sequence[Sample], real: LoadedPictures) -> list[LoadedPictures]:
    wanted = run.config.transplants
    if wanted is None:
        return []
    settings = TransplantSettings(quantile=wanted.quantile)
    return [transplanted_images(samples, real, wanted.pictures, run.config.seed, settings)]

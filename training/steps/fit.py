"""The step from images to fitted weights."""

from collections.abc import Sequence

from training.config_files import load_run_config
from training.data.datamodule import SurfaceDataModule
from training.data.pictures import Joined, LoadedPictures, load_pictures
from training.data.sample import Sample
from training.files import read_weights, require
from training.model.finetune import fit
from training.model.segmenter import Segmenter, build_segmenter, transfer
from training.model.strategies import STRATEGIES, starting_model
from training.run import MADE_WITH, WEIGHTS, Run
from training.steps.split import SplitRun, generated_pictures
from training.transplant.transplant import TransplantSettings, transplanted_pictures

# Of another kind of decoder nothing is taken over: what fits by shape is of other layers.
OF_DECODER = ("unet.decoder.", "unet.segmentation_head.")


def finetune(run: SplitRun) -> None:
    """Fit on the training split."""
    if run.weights.exists():
        return
    config, splits = run.config, run.splits
    scale = config.model.pixel_scale
    real = load_pictures(splits["train"], scale)
    generated = generated_pictures(run, run.classes, scale)
    train = Joined(real, *_transplanted(run, splits["train"], real), *generated)
    # The test images of a fold are only watched; nothing is chosen by them.
    watched = splits.get("validation") or splits.get("test") or []
    data = SurfaceDataModule(train, load_pictures(watched, scale), config)
    fit(initial_segmenter(run, run.classes), data, config, run.weights.parent)


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


def _transplanted(run: Run, samples: Sequence[Sample], real: LoadedPictures) -> list[LoadedPictures]:
    wanted = run.config.transplants
    if wanted is None:
        return []
    settings = TransplantSettings(quantile=wanted.quantile)
    return [transplanted_pictures(samples, real, wanted.pictures, run.config.seed, settings)]

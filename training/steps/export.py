"""The step that exports the weights as a graph and drafts the bundle."""

import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from app.inspection.bundle.bundle import Bundle, DefectClass, TrainingSummary
from app.inspection.inference.tiling import cut
from training.bundle.export import GRAPH, check_parity, draft_bundle, export_graph
from training.data.contents import CONTENTS, TRAINED_ON, read_contents, read_trained_on, write_trained_on
from training.data.datamodule import input_contract
from training.data.pictures import load_pictures
from training.data.sources import GENERATED, data_sources
from training.files import read_weights, require, write_json, write_text, written_whole
from training.model.segmenter import Segmenter
from training.run import FOLDS, MADE_WITH, WEIGHTS, made_with, placeless
from training.steps.split import SplitRun

PARITY_IMAGES = 24


def export(run: SplitRun) -> None:
    """Export the graph, compare it with torch on some tiles, and draft the bundle."""
    if (run.bundle / "parity.json").exists():
        return
    require(run.weights, "fit")
    config, splits = run.config, run.splits
    segmenter = Segmenter(config.model, len(run.classes))
    gated = config.gate is not None
    graph = export_graph(segmenter, run.weights, config.model.tile, run.bundle / GRAPH, gated)
    compared = splits.get("calibration") or splits.get("test") or splits["train"]
    step = max(1, len(compared) // PARITY_IMAGES)
    pictures = load_pictures(compared[::step], 1.0)
    tiles = np.concatenate([cut(picture.pixels, input_contract(config.model))[0] for picture in pictures])
    parity = check_parity(graph, run.bundle / GRAPH, tiles)
    severities = tuple(
        DefectClass(name=name, severity=config.severity.get(name, "major")) for name in run.classes
    )
    draft_bundle(run.bundle, config, severities, _summary(run))
    if run.fold is None:
        add_weights(run)
    write_json(run.bundle / "parity.json", parity)


def add_weights(run: SplitRun) -> None:
    """Add to the bundle what another run needs to start from it: weights and settings, also of each fold.

    A fold of that run starts from the weights of the same fold, which were not fitted to the images it
    predicts. The weights of folds are in half precision to save space.
    """
    write_text(run.bundle / MADE_WITH, made_with(placeless(run.config)))
    shutil.copyfile(run.weights, run.bundle / WEIGHTS)
    _write_trained_on(run, run.bundle)
    for fold in run.folds:
        folder = run.bundle / FOLDS / fold.directory.name
        folder.mkdir(parents=True, exist_ok=True)
        with written_whole(folder / WEIGHTS) as partial:
            # `save_file` would make it readable by its owner only
            partial.write_bytes(
                save({name: _half(each) for name, each in read_weights(fold.weights).items()})
            )
        _write_trained_on(fold, folder)


def _half(values: torch.Tensor) -> torch.Tensor:
    """In half precision, except for integers and tensors with a value outside its range."""
    half = values.half()
    return half if values.is_floating_point() and bool(half.isfinite().all()) else values


def _write_trained_on(run: SplitRun, folder: Path) -> None:
    """Record the images that the weights were fitted to, directly or in the weights they started from."""
    contents = read_contents(run.directory / CONTENTS)
    own = {contents[sample.name].image for sample in run.splits["train"]}
    start = run.start_weights
    before = set() if start is None else read_trained_on(start.with_name(TRAINED_ON))
    write_trained_on(folder / TRAINED_ON, own | before)


def _summary(run: SplitRun) -> TrainingSummary:
    config = run.config
    stages = [f"encoder {config.model.encoder} from {placeless(config).model.weights} weights"]
    before = Bundle.load(run.start).training if run.start is not None else None
    generated = 0 if config.generated is None else config.generated.pictures
    own = data_sources(run.splits["train"], generated)
    earlier = () if before is None else before.data
    # A data set trained on again counts once, even if it has grown; generated images are new each time.
    again = {source.name for source in own if source.name != GENERATED}
    at_most = "at most " if config.split.folds is None else ""
    fit_text = f"{at_most}{config.fit.steps} steps of {config.fit.batch_size} tiles of {config.model.tile} px"
    if config.transplants is not None:
        fit_text += f", with up to {config.transplants.pictures} images of transplanted defects"
    stages = [*(before.stages if before else stages), f"{config.stage}: {fit_text}"]
    return TrainingSummary(
        data=(*(source for source in earlier if source.name not in again), *own),
        stages=tuple(stages),
        seed=config.seed,
        note=config.note,
    )

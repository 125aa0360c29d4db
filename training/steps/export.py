"""The step from weights to a graph, with the bundle drafted around it."""

import shutil

import numpy as np

from app.inspection.bundle.bundle import Bundle, DefectClass, TrainingSummary
from app.inspection.inference.tiling import cut
from training.bundle.export import GRAPH, check_parity, draft_bundle, export_graph
from training.data.datamodule import input_contract
from training.data.pictures import load_pictures
from training.data.sources import data_sources
from training.files import require, write_json, write_text
from training.model.segmenter import Segmenter
from training.run import MADE_WITH, WEIGHTS, made_with
from training.steps.split import SplitRun

PARITY_PICTURES = 24


def export(run: SplitRun) -> None:
    """Export the graph, check it against torch on some tiles, draft the bundle around it."""
    if (run.bundle / "parity.json").exists():
        return
    require(run.weights, "fit")
    config, splits = run.config, run.splits
    segmenter = Segmenter(config.model, len(run.classes))
    gated = config.gate is not None
    graph = export_graph(segmenter, run.weights, config.model.tile, run.bundle / GRAPH, gated)
    compared = splits.get("calibration") or splits.get("test") or splits["train"]
    step = max(1, len(compared) // PARITY_PICTURES)
    pictures = load_pictures(compared[::step], 1.0)
    tiles = np.concatenate([cut(picture.pixels, input_contract(config.model))[0] for picture in pictures])
    parity = check_parity(graph, run.bundle / GRAPH, tiles)
    severities = tuple(
        DefectClass(name=name, severity=config.severity.get(name, "major")) for name in run.classes
    )
    draft_bundle(run.bundle, config, severities, _summary(run))
    if config.stage == "large":  # for others to start from
        shutil.copyfile(run.weights, run.bundle / WEIGHTS)
        write_text(run.bundle / MADE_WITH, made_with(config))
    write_json(run.bundle / "parity.json", parity)


def _summary(run: SplitRun) -> TrainingSummary:
    config = run.config
    stages = [f"encoder {config.model.encoder} from {config.model.weights} weights"]
    before = Bundle.load(run.start).training if run.start is not None else None
    generated = 0 if config.generated is None else config.generated.pictures
    own = data_sources(run.splits["train"], generated)
    at_most = "at most " if config.split.folds is None else ""
    fit_text = f"{at_most}{config.fit.steps} steps of {config.fit.batch_size} tiles of {config.model.tile} px"
    if config.transplants is not None:
        fit_text += f", with up to {config.transplants.pictures} pictures of transplanted defects"
    stages = [*(before.stages if before else stages), f"{config.stage}: {fit_text}"]
    return TrainingSummary(
        data=(*(before.data if before else ()), *own),
        stages=tuple(stages),
        seed=config.seed,
        note=config.note,
    )

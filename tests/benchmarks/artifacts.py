"""What a tile costs in each of a bundle's artifacts, and with the UNet's usual decoder instead of its own."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

from app.inspection.inspector import Inspector
from tests.benchmarks.goals import Goal, goals_table
from tests.benchmarks.networks import USUAL_DECODER, model_config, untrained
from tests.benchmarks.peers import plain
from tests.benchmarks.timing import Times, in_turns
from tests.benchmarks.ways import made_of
from training.bundle.export import export_graph

ROUNDS = 20
RUNS = 10  # of each graph in a round
USUAL = "fp32, usual decoder"
NOT_FOR_CPUS = "fp16"
MOST_INT8 = 0.35  # of the time with the usual decoder


def measure(bundle: Path, rounds: int) -> str:
    """Time the artifacts in turns, one tile a run, with ONNX Runtime's defaults; the table in Markdown."""
    inspector = Inspector.load(bundle, device="cpu")
    shipped = {
        each.name: bundle / each.file for each in inspector.bundle.artifacts if each.name != NOT_FOR_CPUS
    }
    with tempfile.TemporaryDirectory() as folder:
        graphs = {USUAL: usual_graph(bundle, len(inspector.bundle.classes), Path(folder))} | shipped
        sessions = {name: plain.load(str(path)) for name, path in graphs.items()}
    contract = inspector.bundle.input
    tile = np.random.default_rng(0).integers(
        0, 256, (1, contract.tile_height, contract.tile_width, 1), np.uint8
    )
    times = in_turns({name: _runs(session, tile) for name, session in sessions.items()}, rounds)
    about = (
        f"Decoder channels {_listed(model_config(bundle).decoder_channels)};"
        f" usual: {_listed(USUAL_DECODER)}. "
        f"Median of {rounds} rounds (10th-90th percentile)."
    )
    head = [f"| artifact | ms a tile | / {USUAL} |", "|---|---|---|"]
    lines = [made_of(inspector), about, "", *head, *(_row(name, times) for name in times)]
    if "int8" in times:
        ratio = times["int8"].ratio_to(times[USUAL])
        lines += ["", *goals_table([Goal(f"time, int8 / {USUAL}", MOST_INT8, "at most", ratio)])]
    return "\n".join(lines)


def usual_graph(bundle: Path, classes: int, folder: Path) -> Path:
    """The graph of the bundle's network with the usual decoder, as training exports it, weights random."""
    config = model_config(bundle).model_copy(update={"decoder_channels": USUAL_DECODER})
    segmenter = untrained(config, classes)
    weights, graph = folder / "weights.safetensors", folder / "usual.onnx"
    save_file(segmenter.state_dict(), weights)
    export_graph(segmenter, weights, config.tile, graph)
    return graph


def _runs(session: Any, tile: Any) -> Callable[[], None]:
    def run() -> None:
        for _ in range(RUNS):
            plain.run(session, tile)

    return run


def _row(name: str, times: dict[str, Times]) -> str:
    each = times[name]
    low, middle, high = (value / RUNS for value in (each.quantile(0.1), each.median, each.quantile(0.9)))
    return f"| {name} | {middle:.1f} ({low:.1f}-{high:.1f}) | {each.ratio_to(times[USUAL]):.2f} |"


def _listed(channels: tuple[int, ...]) -> str:
    return ", ".join(map(str, channels))

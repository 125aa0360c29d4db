"""`python -m tests.benchmarks.lanes`: model runs beside each other, and threads that spin or wait.

Tiles a second of one graph on the CPU, the ways in turns, on a machine with nothing else to do and then with
one core's worth of other work; each way's figure is the median ratio to ONNX Runtime's defaults.
`app/inspection/inference/threads.py` decides by these.
"""

import argparse
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from app.inspection.inference.threads import usable_cores
from tests.benchmarks.timing import check_rounds, in_turns
from tests.benchmarks.ways import machine

TILES = 16  # that each way runs a turn


@dataclass(frozen=True)
class Way:
    """`lanes` runs at once of `batch` tiles each, with `threads` in one pool that spin or wait."""

    lanes: int
    threads: int
    batch: int
    spin: bool

    def __str__(self) -> str:
        how = "spinning" if self.spin else "waiting"
        return f"{self.lanes} lane(s), {self.threads} threads {how}, batches of {self.batch}"


def ways(cores: int) -> list[Way]:
    """ONNX Runtime's defaults first."""
    lanes = [(1, cores, batch, spin) for spin in (True, False) for batch in (1, 4)]
    lanes += [(2, cores, 1, True), (2, cores, 1, False), (2, cores, 4, False), (2, cores, 8, False)]
    return [Way(*each) for each in [*lanes, (cores, 1, 1, False), (cores, 1, 4, False)]]


def runner(graph: Path, way: Way, shape: tuple[int, ...]) -> Any:
    """A call that runs TILES tiles this way."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = way.threads
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(way.spin)))
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    tiles = np.random.default_rng(0).integers(0, 256, (way.batch, *shape), dtype=np.uint8)
    executor = ThreadPoolExecutor(way.lanes)

    def work(_: int) -> None:
        session.run(None, {"pixels": tiles})

    return lambda: list(executor.map(work, range(TILES // way.batch)))


def _burn() -> None:
    while True:
        time.perf_counter()


@contextmanager
def other_work(processes: int) -> Iterator[None]:
    """So many processes that never rest."""
    burning = [multiprocessing.Process(target=_burn, daemon=True) for _ in range(processes)]
    for each in burning:
        each.start()
    yield
    for each in burning:
        each.kill()
        each.join()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.lanes", description=__doc__)
    parser.add_argument("graph", type=Path, nargs="?", default=Path("models/magnetic-tile/6/model.int8.onnx"))
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    check_rounds(options.rounds)
    tile = ort.InferenceSession(options.graph, providers=["CPUExecutionProvider"]).get_inputs()[0].shape[1:]
    calls = {str(way): runner(options.graph, way, tuple(tile)) for way in ways(usable_cores())}
    print(f"{options.graph}, ONNX Runtime {ort.__version__}; {machine()}; median of {options.rounds} rounds")
    print("| way | tiles/s alone | to defaults | beside other work | to defaults |\n|---|---|---|---|---|")
    quiet = in_turns(calls, options.rounds)
    with other_work(1):
        busy = in_turns(calls, options.rounds)
    first = next(iter(calls))
    for name in calls:
        cells = [
            f"{TILES / times[name].median * 1000:.1f} | {1 / times[name].ratio_to(times[first]):.2f}"
            for times in (quiet, busy)
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

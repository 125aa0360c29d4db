"""`python -m tests.benchmarks`: what a picture costs, and how much of that is the network itself.

Prints the tables and writes them into docs/benchmarks.md.
"""

import argparse
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnxruntime as ort

from app.inspection.inspector import Inspector
from tests.benchmarks.timing import LEAST_ROUNDS, Times, check_rounds, in_turns, per_second
from tests.benchmarks.ways import Picture, bare, inspect, machine, pictures, post
from tests.markdown import ROOT
from tests.marked import renew
from tests.serving import Serving, serving

PAGE = ROOT / "docs/benchmarks.md"
BUNDLE = ROOT / "models/magnetic-tile/2"
SIZES = ((240, 320), (1024, 1280))
STARTS = 5
CLIENTS = 4


def main(arguments: list[str] | None = None) -> None:
    """Measure, print and write."""
    options = _parser().parse_args(arguments)
    check_rounds(options.rounds)
    report = measure(options.bundle, options.rounds)
    print(report)
    renew(options.page, "benchmarks", report)


def measure(bundle: Path, rounds: int) -> str:
    """Measure on the CPU and return the tables in Markdown."""
    starts = []
    for _ in range(STARTS):
        with serving(bundle, device="cpu") as service:
            starts.append(service.ready_after_s)
    inspector = Inspector.load(bundle, device="cpu")
    samples = pictures(inspector, SIZES)
    with serving(bundle, device="cpu") as service:
        ready = service.memory_mib("VmRSS")
        rows = [_row(inspector, sample, service, rounds) for sample in samples]
        rate = _rate(service, samples[0], rounds)
        after, peak = service.memory_mib("VmRSS"), service.memory_mib("VmHWM")
    process = [
        f"| cold start to ready, median of {STARTS} | {np.median(starts):.2f} s |",
        f"| resident memory when ready | {ready:.0f} MiB |",
        f"| resident memory after all requests | {after:.0f} MiB |",
        f"| its peak | {peak:.0f} MiB |",
        f"| pictures a second, {CLIENTS} clients, {samples[0].name} | {rate:.1f} |",
    ]
    return "\n".join(
        [*_made_of(inspector, rounds), "", *HEADER, *rows, "", "| service | |", "|---|---|", *process]
    )


HEADER = [
    "| picture | (a) ONNX Runtime alone, ms | (b) `Inspector.inspect`, ms | (c) HTTP, ms | b / a | c / b |",
    "|---|---|---|---|---|---|",
]


def _row(inspector: Inspector, picture: Picture, service: Serving, rounds: int) -> str:
    with post(service.port, picture) as http:
        ways = {"a": bare(inspector, picture), "b": inspect(inspector, picture), "c": http}
        times = in_turns(ways, rounds)
    cells = [_cell(times[name]) for name in ways]
    ratios = [times["b"].ratio_to(times["a"]), times["c"].ratio_to(times["b"])]
    return f"| {picture.name} | " + " | ".join([*cells, *(f"{ratio:.2f}" for ratio in ratios)]) + " |"


def _rate(service: Serving, picture: Picture, rounds: int) -> float:
    with ExitStack() as stack:
        clients = [stack.enter_context(post(service.port, picture)) for _ in range(CLIENTS)]
        return per_second(clients, rounds)


def _cell(times: Times) -> str:
    return f"{times.median:.1f} ({times.quantile(0.1):.1f} to {times.quantile(0.9):.1f})"


def _made_of(inspector: Inspector, rounds: int) -> list[str]:
    bundle, session = inspector.bundle, inspector.session
    return [
        f"{bundle.name} {bundle.version}, {session.artifact.name} on {session.execution_provider}, "
        f"ONNX Runtime {ort.__version__}; {machine()}; {datetime.now(UTC):%Y-%m-%d}.",
        f"Medians of {rounds} rounds (in brackets the 10th to the 90th percentile).",
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help=f"at least {LEAST_ROUNDS}")
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    parser.add_argument("--page", type=Path, default=PAGE, help="the page with the markers to write between")
    return parser


if __name__ == "__main__":
    main()

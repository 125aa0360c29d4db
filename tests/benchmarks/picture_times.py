"""What a picture costs, and how much of that is the network itself."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from app.inspection.inspector import Inspector
from tests.benchmarks.timing import Times, in_turns, per_second
from tests.benchmarks.ways import Picture, bare, inspect, made_of, pictures, post
from tests.serving import Serving, serving

ROUNDS = 20
SIZES = ((240, 320), (1024, 1280))
STARTS = 5
CLIENTS = 4
MEDIANS = "Median of {} rounds (10th-90th percentile)."


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
        f"| cold start, median of {STARTS} | {np.median(starts):.2f} s |",
        f"| memory when ready | {ready:.0f} MiB |",
        f"| after all requests | {after:.0f} MiB |",
        f"| peak | {peak:.0f} MiB |",
        f"| images/s, {CLIENTS} clients, {samples[0].name} | {rate:.1f} |",
    ]
    return "\n".join(
        [
            made_of(inspector),
            MEDIANS.format(rounds),
            "",
            *HEADER,
            *rows,
            "",
            "| service | |",
            "|---|---|",
            *process,
        ]
    )


HEADER = [
    "| image | (a) ONNX Runtime, ms | (b) `inspect`, ms | (c) HTTP, ms | b / a | c / b | rest / model |",
    "|---|---|---|---|---|---|---|",
]
JUDGING = ("gate", "measure", "verdict")  # steps of an inspection that are neither pixels nor the model


def _row(inspector: Inspector, picture: Picture, service: Serving, rounds: int) -> str:
    with post(service.port, picture) as http:
        ways = {"a": bare(inspector, picture), "b": inspect(inspector, picture), "c": http}
        times = in_turns(ways, rounds)
    cells = [_cell(times[name]) for name in ways]
    ratios = [times["b"].ratio_to(times["a"]), times["c"].ratio_to(times["b"])]
    ratios.append(_judging(inspector, picture, rounds))
    return f"| {picture.name} | " + " | ".join([*cells, *(f"{ratio:.2f}" for ratio in ratios)]) + " |"


def _judging(inspector: Inspector, picture: Picture, rounds: int) -> float:
    """What judging takes of the model run of the same inspection, the median."""
    timings = [inspector.inspect(picture.data).timings_ms for _ in range(rounds)]
    shares = [sum(each.get(step, 0.0) for step in JUDGING) / each["inference"] for each in timings]
    return float(np.median(shares))


def _rate(service: Serving, picture: Picture, rounds: int) -> float:
    with ExitStack() as stack:
        clients = [stack.enter_context(post(service.port, picture)) for _ in range(CLIENTS)]
        return per_second(clients, rounds)


def _cell(times: Times) -> str:
    return f"{times.median:.1f} ({times.quantile(0.1):.1f}-{times.quantile(0.9):.1f})"

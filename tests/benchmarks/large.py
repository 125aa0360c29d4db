"""`python -m tests.benchmarks.large`: what a line camera's long frames cost in time and memory.

Each length is measured in a process of its own. Memory is what the process holds at its peak above what it
held with the frame before, when the model had run on every number of tiles it can be given; it is given in
frames, since that is what it may grow by. CPU time is told besides the clock's, for machines that are shared.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from app.inspection.decoding.decode import decode
from app.inspection.decoding.raw import RawFrame
from app.inspection.inference.tiling import cut
from app.inspection.inspector import LEAST_AT_ONCE, Inspector
from tests.benchmarks.ways import machine
from tests.markdown import ROOT
from tests.marked import renew
from training.data.synthesis.tiles import CLASSES, generate_tile

BUNDLE = ROOT / "models/magnetic-tile/6"
WIDTH = 2048
HEIGHTS = (512, 1024, 2048, 4096, 8192)
PIECE = 512  # lines generated at once
WARM_UP_PX = 768  # a side
MIB = 1 << 20


@dataclass(frozen=True)
class Cost:
    """Of frames of one length: milliseconds, the medians, and bytes at the peak."""

    height: int
    width: int
    ms: float
    cpu_ms: float
    inference_ms: float
    peak_bytes: int
    defects: int

    @property
    def pixels(self) -> int:
        """Of one frame, and its bytes."""
        return self.height * self.width


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print, or measure one length only and print that for the process that asked."""
    options = _parser().parse_args(arguments)
    if options.one is not None:
        print(json.dumps(asdict(measure(options.bundle, options.one, options.rounds, options.threads))))
        return
    costs = [Cost(**json.loads(_in_a_process(options, height))) for height in options.heights]
    table = report(options.bundle, costs, options.threads)
    print(table)
    if options.page is not None:
        renew(options.page, "long-frames", table)


def measure(bundle: Path, height: int, rounds: int, threads: int | None) -> Cost:
    """Judge a generated frame of WIDTH and this height; for a process that does nothing else."""
    inspector = Inspector.load(bundle, "cpu", threads)
    inspector.self_test()
    tiles, _ = cut(decode(frame(WARM_UP_PX, WARM_UP_PX), inspector.limits), inspector.bundle.input)
    for count in 2 * list(range(1, LEAST_AT_ONCE + 1)):  # twice: only then has it planned its memory
        inspector.session.run(tiles[:count])
    long = frame(height, WIDTH)
    peak = peak_bytes(lambda: inspector.inspect(long))
    taken, cpu, inference = [], [], []
    for _ in range(rounds):
        started, worked = time.perf_counter(), time.process_time()
        found = inspector.inspect(long)
        taken.append((time.perf_counter() - started) * 1000)
        cpu.append((time.process_time() - worked) * 1000)
        inference.append(found.timings_ms["inference"])
    ms, cpu_ms, inference_ms = (float(np.median(times)) for times in (taken, cpu, inference))
    return Cost(height, WIDTH, ms, cpu_ms, inference_ms, peak, len(found.defects))


def frame(height: int, width: int) -> RawFrame:
    """A generated surface with a defect in every second piece, as a camera's buffer."""
    pieces = []
    for number, start in enumerate(range(0, height, PIECE)):
        size = min(PIECE, height - start), width
        kind = CLASSES[number // 2 % len(CLASSES)] if number % 2 == 0 else None
        pieces.append(generate_tile(number, kind, size)[0].tobytes())
    return RawFrame(b"".join(pieces), width, height, "Mono8")


def peak_bytes(work: Callable[[], object]) -> int:
    """By how many bytes the process grows while it works, as Linux counts its resident memory."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak so far
    before = _resident("VmRSS")
    work()
    return _resident("VmHWM") - before


def report(bundle: Path, costs: Sequence[Cost], threads: int | None) -> str:
    """The table and the straight line through the times, in Markdown."""
    rows = [
        f"| {each.width} x {each.height} | {each.ms:.0f} | {each.cpu_ms / (each.pixels / 1e6):.0f} | "
        f"{each.inference_ms / each.ms:.3f} | {each.peak_bytes / MIB:.1f} | "
        f"{each.peak_bytes / each.pixels:.2f} | {each.defects} |"
        for each in costs
    ]
    return "\n".join(
        [
            f"{bundle.parent.name} {bundle.name}, {threads or 'all'} threads; {machine()}; "
            f"{datetime.now(UTC):%Y-%m-%d}.",
            "",
            "| frame, px | ms | CPU ms/megapixel | model / all | peak, MiB | peak / frame | defects |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"Elapsed time: {_line(costs, [each.ms for each in costs])}.",
            f"CPU time: {_line(costs, [each.cpu_ms for each in costs])}.",
        ]
    )


def _line(costs: Sequence[Cost], taken: Sequence[float]) -> str:
    """The straight line through times, and how much of their variance it explains."""
    megapixels, times = np.array([each.pixels / 1e6 for each in costs]), np.array(taken)
    slope, start = np.polyfit(megapixels, times, 1)
    rest = np.sum((times - slope * megapixels - start) ** 2)
    explained = 1 - rest / np.sum((times - times.mean()) ** 2)
    return f"{slope:.0f} ms/megapixel and {start:.0f} ms, R² {explained:.4f}"


def _resident(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) * 1024


def _in_a_process(options: argparse.Namespace, height: int) -> str:
    words = ["--one", str(height), "--bundle", str(options.bundle), "--rounds", str(options.rounds)]
    words += [] if options.threads is None else ["--threads", str(options.threads)]
    command = [sys.executable, "-m", "tests.benchmarks.large", *words]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.large", description=__doc__)
    parser.add_argument("--bundle", type=lambda path: Path(path).resolve(), default=BUNDLE)
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts")
    parser.add_argument("--threads", type=int, help="of one model run; default: ONNX Runtime decides")
    parser.add_argument("--heights", type=int, nargs="+", default=list(HEIGHTS), help="in lines")
    parser.add_argument("--page", type=Path, help="the page with the markers to write between, if any")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()

"""`python -m tests.benchmarks.soak`: good and bad requests for half an hour; does the service's process grow?

Prints the figures and writes them into docs/benchmarks.md. Ends by itself, with status 1 where a goal is
missed.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tests.benchmarks import processes
from tests.benchmarks.goals import Goal, goals_table
from tests.benchmarks.mixture import SIZES, Size
from tests.benchmarks.soak_clients import Traffic, flow, traffic_for
from tests.benchmarks.ways import PAGE, SHIPPED
from tests.marked import renew
from tests.serving import Serving, serving

MINUTES = 30.0
CLIENTS = 4
SAMPLES = 180
QUIET_S = 0.3  # before a sample: what was left half-way has ended by then
USUALLY = 0.9  # of the samples; at the others a thread or a connection may just have been ending
WARM_UP = 1 / 3  # of the samples, which do not count
MOST_SLOPE = 1.0
MB = 1000**2


@dataclass(frozen=True)
class Sample:
    """The service's process at one moment without requests, and the pictures it had judged until then."""

    pictures: int
    resident_mb: float
    files: int
    threads: int


@dataclass(frozen=True)
class Soak:
    """All samples, and what the clients counted."""

    samples: tuple[Sample, ...]
    traffic: Traffic
    minutes: float

    @property
    def counted(self) -> tuple[Sample, ...]:
        """The samples after the warm-up."""
        return self.samples[int(len(self.samples) * WARM_UP) :]

    @property
    def mb_per_1000_pictures(self) -> float:
        """The slope of resident memory after the warm-up."""
        return slope(self.counted)

    def more(self, what: Literal["files", "threads"]) -> float:
        """How many more of them there are at the end than after the warm-up."""
        return growth([getattr(each, what) for each in self.counted])

    @property
    def goals(self) -> list[Goal]:
        """Bounds on growth, and what must be none."""
        return [
            Goal(
                "growth of memory",
                MOST_SLOPE,
                "at most",
                self.mb_per_1000_pictures,
                "MB per 1,000 images",
            ),
            Goal("more open files", 0, "at most", self.more("files")),
            Goal("more threads", 0, "at most", self.more("threads")),
            Goal("wrong answers", 0, "at most", len(self.traffic.wrong)),
        ]

    @property
    def report(self) -> str:
        """The tables in Markdown."""
        last = self.samples[-1]
        resident = [each.resident_mb for each in self.counted]
        rows = [
            ("duration", f"{self.minutes:g} minutes, {CLIENTS} clients"),
            ("images inspected", f"{last.pictures}"),
            (
                "requests",
                ", ".join(f"{name} {count}" for name, count in sorted(self.traffic.requests.items())),
            ),
            ("memory, least to most", f"{min(resident):.0f}-{max(resident):.0f} MB"),
            ("open files, end", f"{last.files}"),
            ("threads, end", f"{last.threads}"),
        ]
        lines = ["| soak | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
        return "\n".join([*lines, "", *goals_table(self.goals)])


def slope(samples: Sequence[Sample]) -> float:
    """MB per 1,000 pictures: the median of the slopes between all pairs of samples (Theil-Sen)."""
    pictures = np.array([each.pictures for each in samples], float)
    resident = np.array([each.resident_mb for each in samples])
    first, second = np.triu_indices(len(samples), k=1)
    apart = pictures[second] > pictures[first]
    rise = (resident[second] - resident[first])[apart] / (pictures[second] - pictures[first])[apart]
    return float(1000 * np.median(rise))


def growth(values: Sequence[int]) -> float:
    """How much higher the second half of the samples reaches than the first, but for its few highest."""
    half = len(values) // 2
    low, high = (float(np.quantile(each, USUALLY, method="lower")) for each in (values[:half], values[half:]))
    return high - low


def soak(bundle: Path, minutes: float, samples: int, sizes: Sequence[Size] = SIZES) -> Soak:
    """Serve the bundle and mistreat it for so long, with good pictures of these sizes."""
    with (
        tempfile.TemporaryDirectory() as recipes,
        serving(bundle, device="cpu", recipes_dir=recipes) as service,
    ):
        traffic = traffic_for(bundle, service.port, sizes)
        taken = _sampled(service, traffic, minutes * 60 / samples, samples)
    return Soak(tuple(taken), traffic, minutes)


def _sampled(service: Serving, traffic: Traffic, every_s: float, samples: int) -> list[Sample]:
    taken = []
    for number in range(samples):
        flow(traffic, CLIENTS, every_s - QUIET_S, seed=number)
        time.sleep(QUIET_S)
        resident_mb = service.memory_mib("VmRSS") * 1024**2 / MB
        pid = service.process.pid
        taken.append(Sample(traffic.pictures, resident_mb, processes.open_files(pid), processes.threads(pid)))
    return taken


def main(arguments: list[str] | None = None) -> int:
    """Soak, print and write; the exit status is 1 where a goal is missed."""
    options = _parser().parse_args(arguments)
    found = soak(options.bundle, options.minutes, options.samples)
    print(found.report)
    for each in found.traffic.wrong[:20]:
        print(each, file=sys.stderr)
    renew(options.page, "soak", found.report)
    return int(not all(goal.reached for goal in found.goals))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--samples", type=int, default=SAMPLES, help="of memory, files and threads")
    parser.add_argument("--bundle", type=Path, default=SHIPPED)
    parser.add_argument("--page", type=Path, default=PAGE, help="the page with the markers to write between")
    return parser


if __name__ == "__main__":
    processes.end_in_order()
    sys.exit(main())

"""`python -m tests.benchmarks.history`: what keeping each inspection costs.

Two services on the same bundle and images, one that keeps its inspections (`sync`) and one that does not
(`off`), are asked in turns: alone for the latency, by several clients for the throughput. Prints the figures
and writes them into docs/benchmarks.md; the exit status is 1 where a goal is missed.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from app.inspection.inspector import Inspector
from tests.benchmarks import processes
from tests.benchmarks.goals import Goal, goals_table
from tests.benchmarks.load import request, turn
from tests.benchmarks.timing import check_rounds
from tests.benchmarks.ways import PAGE, SHIPPED, pictures
from tests.marked import renew
from tests.serving import serving

ROUNDS = 10
SECONDS = 6.0  # of a turn
CLIENTS = 4
SIZE = (240, 320)
MODES = ("off", "sync")


@dataclass
class Found:
    """Medians of turns, by mode: latency of one client in ms, inspections per second of several."""

    latency_ms: dict[str, list[float]] = field(default_factory=lambda: {mode: [] for mode in MODES})
    per_second: dict[str, list[float]] = field(default_factory=lambda: {mode: [] for mode in MODES})

    @property
    def goals(self) -> list[Goal]:
        """What keeping may cost: medians over the rounds of differences and ratios within each."""
        added = np.subtract(self.latency_ms["sync"], self.latency_ms["off"])
        ratio = np.divide(self.per_second["sync"], self.per_second["off"])
        return [
            Goal("latency added, median", 3, "at most", float(np.median(added)), "ms"),
            Goal("throughput, of that without", 0.95, "at least", float(np.median(ratio))),
        ]

    @property
    def report(self) -> str:
        """The tables in Markdown."""
        lines = [
            "| history | latency of one client, ms | inspections per second, 4 clients |",
            "|---|---|---|",
        ]
        for mode in MODES:
            latency, rate = np.median(self.latency_ms[mode]), np.median(self.per_second[mode])
            lines.append(f"| `{mode}` | {latency:.1f} | {rate:.1f} |")
        return "\n".join([*lines, "", *goals_table(self.goals)])


def measure(bundle: Path, rounds: int, seconds: float) -> Found:
    """Ask both services in turns; the one that is asked second changes with each round."""
    found = Found()
    (picture,) = pictures(Inspector.load(bundle, device="cpu"), (SIZE,))
    asked = [request("/v1/inspections?mask=png", picture.media_type, picture.data)]
    with (
        serving(bundle, device="cpu", history="off") as without,
        serving(bundle, device="cpu", history="sync") as with_history,
    ):
        ports = {"off": without.port, "sync": with_history.port}
        for number in range(rounds):
            order = MODES if number % 2 else MODES[::-1]
            for mode in order:
                alone = turn(ports[mode], asked, 1, seconds)
                found.latency_ms[mode].append(float(np.median(alone.latencies_ms)))
            for mode in order:
                found.per_second[mode].append(turn(ports[mode], asked, CLIENTS, seconds).per_s)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; the exit status is 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.history", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each turn")
    parser.add_argument("--bundle", type=Path, default=SHIPPED)
    parser.add_argument("--page", type=Path, default=PAGE, help="the page with the markers to write between")
    options = parser.parse_args(arguments)
    check_rounds(options.rounds)
    found = measure(options.bundle, options.rounds, options.seconds)
    print(found.report)
    renew(options.page, "history", found.report)
    return int(not all(goal.reached for goal in found.goals))


if __name__ == "__main__":
    processes.end_in_order()
    sys.exit(main())

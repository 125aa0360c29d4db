"""`python -m tests.benchmarks`: everything that docs/benchmarks.md shows, but for the soak.

Prints the tables and writes each into that page as soon as it is measured.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import against_peers, artifacts, overload, picture_times
from tests.benchmarks.processes import end_in_order
from tests.benchmarks.servers import CANDIDATES
from tests.benchmarks.timing import LEAST_ROUNDS, check_rounds
from tests.benchmarks.ways import PAGE, SHIPPED
from tests.marked import renew


def main(arguments: list[str] | None = None) -> None:
    """Measure, print and write."""
    options = _parser().parse_args(arguments)
    if options.rounds is not None:
        check_rounds(options.rounds)
    for name in options.only or PARTS:
        report = PARTS[name](options)
        print(report, flush=True)
        renew(options.page, name, report)


def _pictures(options: argparse.Namespace) -> str:
    return picture_times.measure(options.bundle, options.rounds or picture_times.ROUNDS)


def _peers(options: argparse.Namespace) -> str:
    rounds, seconds = options.rounds or against_peers.ROUNDS, options.seconds or against_peers.SECONDS
    return against_peers.measure(options.bundle, rounds, seconds, options.peers or list(CANDIDATES))


def _artifacts(options: argparse.Namespace) -> str:
    return artifacts.measure(options.bundle, options.rounds or artifacts.ROUNDS)


def _overload(options: argparse.Namespace) -> str:
    return overload.measure(options.bundle, options.seconds or overload.SECONDS).report


# By the names of the page's markers.
PARTS: dict[str, Callable[[argparse.Namespace], str]] = {
    "benchmarks": _pictures,
    "peers": _peers,
    "artifacts": _artifacts,
    "overload": _overload,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="TABLE", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, help=f"at least {LEAST_ROUNDS}; without it, each table's own")
    parser.add_argument(
        "--seconds", type=float, help="of a turn or of the overload; without it, each one's own"
    )
    parser.add_argument("--peers", nargs="+", choices=CANDIDATES, metavar="PEER", help=", ".join(CANDIDATES))
    parser.add_argument("--bundle", type=Path, default=SHIPPED)
    parser.add_argument("--page", type=Path, default=PAGE, help="the page with the markers to write between")
    return parser


if __name__ == "__main__":
    end_in_order()
    main()

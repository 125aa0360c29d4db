"""The tables of Passline against its peers, and the goals computed from them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tests.benchmarks.goals import Goal, goals_table
from tests.benchmarks.load import Turn
from tests.benchmarks.servers import BENTOML, LITSERVE, OURS, TORCH

BARE = "ONNX Runtime alone"
MANY = 8  # clients, of the goals
# Passline's images per second over those of the other, at MANY clients.
LEAST_RATIOS = {BARE: 0.92, LITSERVE.name: 1.15, BENTOML.name: 1.3, TORCH.name: 2.5}
MOST_P99_BY_P50 = 1.5
MOST_READY_S = 3.0
MOST_RESIDENT_MB = 450.0
MB_IN_MIB = 1024**2 / 1000**2

Turns = Mapping[str, Sequence[Turn]]


@dataclass(frozen=True)
class Account:
    """A server's settings, seconds to ready, and resident memory in MiB when ready and after all turns."""

    name: str
    settings: str
    ready_s: float
    ready_mib: float
    loaded_mib: float


def tables(turns: Mapping[int, Turns], accounts: Sequence[Account]) -> list[str]:
    """All of them, the goals last."""
    goals = list(goals_of(turns, next(each for each in accounts if each.name == OURS)))
    parts = [_rates(turns), _latencies(turns), _of_servers(accounts), goals_table(goals)]
    return [line for part in parts for line in [*part, ""]][:-1]


def ratio(turns: Turns, other: str) -> float:
    """Passline's images per second over those of the other: the median of the rounds."""
    pairs = zip(turns[OURS], turns[other], strict=True)
    return float(np.median([ours.per_s / theirs.per_s for ours, theirs in pairs]))


def latency_ms(turns: Sequence[Turn], share: float) -> float:
    """What this share of all requests of all rounds stayed below."""
    return float(np.quantile([ms for each in turns for ms in each.latencies_ms], share))


def goals_of(turns: Mapping[int, Turns], ours: Account) -> Iterator[Goal]:
    """The goals on what was measured; those on peers that took part."""
    for other, least in LEAST_RATIOS.items():
        if other in turns[MANY]:
            what = f"images/s, Passline / {other}, {MANY} clients"
            yield Goal(what, least, "at least", ratio(turns[MANY], other))
    p99, p50 = (latency_ms(turns[MANY][OURS], share) for share in (0.99, 0.5))
    yield Goal(f"p99 / p50, {MANY} clients", MOST_P99_BY_P50, "at most", p99 / p50)
    yield Goal("cold start", MOST_READY_S, "at most", ours.ready_s, "s")
    yield Goal("memory after all turns", MOST_RESIDENT_MB, "at most", ours.loaded_mib * MB_IN_MIB, "MB")


def _rates(turns: Mapping[int, Turns]) -> list[str]:
    head = "| images/s |" + "".join(f" {_clients(number)} | Passline / this |" for number in turns)
    return [head, "|---|" + "---|---|" * len(turns), *_rows(turns, _rate)]


def _latencies(turns: Mapping[int, Turns]) -> list[str]:
    head = "| p50, p95, p99 in ms |" + "".join(f" {_clients(number)} |" for number in turns)
    return [head, "|---|" + "---|" * len(turns), *_rows(turns, _percentiles)]


def _rows(turns: Mapping[int, Turns], cell: Callable[[str, Turns], str]) -> list[str]:
    """A line for each server, with a cell for each number of clients."""
    names = next(iter(turns.values()))
    return [f"| {name} |" + "".join(f" {cell(name, each)} |" for each in turns.values()) for name in names]


def _rate(name: str, turns: Turns) -> str:
    low, middle, high = np.quantile([each.per_s for each in turns[name]], (0.1, 0.5, 0.9))
    compared = "" if name == OURS else f"{ratio(turns, name):.2f}"
    return f"{middle:.1f} ({low:.1f}-{high:.1f}) | {compared}"


def _percentiles(name: str, turns: Turns) -> str:
    return ", ".join(f"{latency_ms(turns[name], share):.0f}" for share in (0.5, 0.95, 0.99))


def _clients(number: int) -> str:
    return "1 client" if number == 1 else f"{number} clients"


def _of_servers(accounts: Sequence[Account]) -> list[str]:
    head = "| server | settings | cold start, s | ready, MiB | after all turns, MiB |"
    rows = [
        f"| {each.name} | {each.settings} | {each.ready_s:.2f} | {each.ready_mib:.0f} |"
        f" {each.loaded_mib:.0f} |"
        for each in accounts
    ]
    return [head, "|---|---|---|---|---|", *rows]

"""The tables of Passline against its peers, and the goals computed from them."""

from collections.abc import Iterator, Mapping, Sequence
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
    lines: list[str] = []
    for clients, each in turns.items():
        lines += [*_of_clients(clients, each), ""]
    goals = list(goals_of(turns, next(each for each in accounts if each.name == OURS)))
    return [*lines, *_of_servers(accounts), "", *goals_table(goals)]


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
    yield Goal(
        "memory after all turns", MOST_RESIDENT_MB, "at most", ours.loaded_mib * MB_IN_MIB, "MB"
    )


def _of_clients(clients: int, turns: Turns) -> list[str]:
    named = "1 client" if clients == 1 else f"{clients} clients"
    head = f"| {named} | images/s | p50, ms | p95, ms | p99, ms | Passline / this |"
    return [head, "|---|---|---|---|---|---|", *(_row(name, turns) for name in turns)]


def _row(name: str, turns: Turns) -> str:
    rates = [each.per_s for each in turns[name]]
    low, middle, high = np.quantile(rates, (0.1, 0.5, 0.9))
    latencies = " | ".join(f"{latency_ms(turns[name], share):.0f}" for share in (0.5, 0.95, 0.99))
    compared = "" if name == OURS else f"{ratio(turns, name):.2f}"
    return f"| {name} | {middle:.1f} ({low:.1f}-{high:.1f}) | {latencies} | {compared} |"


def _of_servers(accounts: Sequence[Account]) -> list[str]:
    head = "| server | settings | cold start, s | ready, MiB | after all turns, MiB |"
    rows = [
        f"| {each.name} | {each.settings} | {each.ready_s:.2f} | {each.ready_mib:.0f} |"
        f" {each.loaded_mib:.0f} |"
        for each in accounts
    ]
    return [head, "|---|---|---|---|---|", *rows]

"""Times that can be compared: taken in turns, so that whatever else the machine does hits all alike."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

WARM_UP = 3
LEAST_ROUNDS = 10


@dataclass(frozen=True)
class Times:
    """Milliseconds of one way, by round."""

    ms: tuple[float, ...]

    @property
    def median(self) -> float:
        """Half of the rounds took longer."""
        return float(np.median(self.ms))

    def quantile(self, share: float) -> float:
        """What this share of the rounds stayed below."""
        return float(np.quantile(self.ms, share))

    def ratio_to(self, other: "Times") -> float:
        """The median of the ratios round by round."""
        return float(np.median(np.array(self.ms) / np.array(other.ms)))


def check_rounds(rounds: int) -> None:
    """End the program with what is wrong where there are too few."""
    if rounds < LEAST_ROUNDS:
        raise SystemExit(f"--rounds must be at least {LEAST_ROUNDS}: a median of fewer says little")


def in_turns(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Times]:
    """Call every way once a round, A B C A B C, after a few calls that do not count."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(WARM_UP + rounds):
        for name, call in ways.items():
            started = time.perf_counter()
            call()
            if number >= WARM_UP:
                taken[name].append((time.perf_counter() - started) * 1000)
    return {name: Times(tuple(ms)) for name, ms in taken.items()}


def per_second(ways: Sequence[Callable[[], object]], rounds: int) -> float:
    """Calls a second where every way is called by a client of its own, all at the same time."""

    def work(call: Callable[[], object]) -> None:
        for _ in range(rounds):
            call()

    with ThreadPoolExecutor(len(ways)) as threads:
        started = time.perf_counter()
        list(threads.map(work, ways))
        return len(ways) * rounds / (time.perf_counter() - started)

"""What becomes of three times as many pictures as can be judged: refused in time, or judged as if alone."""

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from tests.benchmarks.goals import Goal, goals_table
from tests.benchmarks.load import Connection, connected, turn
from tests.benchmarks.mixture import Case, Said, alone, bad_cases, good_cases, said
from tests.serving import serving

SECONDS = 30.0
CLIENTS = 8  # by which the capacity is measured
CAPACITY_SECONDS = 5.0
TIMES = 3  # of the capacity
MOST_IN_FLIGHT = 256  # far more than the service has places
BAD_SHARE = 0.1
SEED = 1


@dataclass
class Outcome:
    """What came back; latencies in ms, counted from the moment a picture was due."""

    capacity_per_s: float
    offered_per_s: float
    sent: int = 0
    accepted_ms: list[float] = field(default_factory=list)
    refused: int = 0
    refused_silently: int = 0  # without Retry-After
    wrong: int = 0  # judged otherwise than alone
    passed_uninspected: int = 0
    others: Counter[str] = field(default_factory=Counter)

    @property
    def goals(self) -> list[Goal]:
        """What must be none."""
        none = {
            "answers that differ from those given alone": self.wrong,
            "`pass` of what cannot be inspected": self.passed_uninspected,
            "refusals without `Retry-After`": self.refused_silently,
            "other answers": self.others.total(),
        }
        return [Goal(what, 0, "at most", found) for what, found in none.items()]

    @property
    def report(self) -> str:
        """The table in Markdown."""
        p50, p99 = np.quantile(self.accepted_ms or [np.nan], (0.5, 0.99))
        rows = [
            ("capacity, images/s", f"{self.capacity_per_s:.1f}"),
            ("sent, images/s", f"{self.offered_per_s:.1f}"),
            ("images sent", f"{self.sent}"),
            ("inspected", f"{len(self.accepted_ms)}"),
            ("p50 of inspected", f"{p50:.0f} ms"),
            ("p99 of inspected", f"{p99:.0f} ms"),
            ("refused with 429", f"{self.refused} ({self.refused / max(1, self.sent):.0%})"),
            *((f"answered {what}", f"{count}") for what, count in sorted(self.others.items())),
        ]
        lines = ["| overload | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
        return "\n".join([*lines, "", *goals_table(self.goals)])


def measure(bundle: Path, seconds: float, **settings: Any) -> Outcome:
    """Measure the capacity, then send TIMES as much, by the clock, for so many seconds."""
    good, bad = good_cases(), bad_cases()
    chosen: dict[str, Any] = {"device": "cpu"} | settings
    with serving(bundle, **chosen) as service:
        with connected(service.port) as connection:
            wanted = alone(connection, [*good, *bad])
        capacity = turn(
            service.port, [each.request() for each in good], CLIENTS, min(seconds, CAPACITY_SECONDS)
        )
        outcome = Outcome(capacity.per_s, TIMES * capacity.per_s)
        with closing(_Senders(service.port, wanted, outcome)) as senders:
            _send(senders, good, bad, seconds)
    return outcome


def _send(senders: "_Senders", good: Sequence[Case], bad: Sequence[Case], seconds: float) -> None:
    """Send as if parts came by: at random moments, whether the service keeps up or not."""
    chance = random.Random(SEED)
    due = start = time.perf_counter()
    while (due := due + chance.expovariate(senders.outcome.offered_per_s)) < start + seconds:
        time.sleep(max(0.0, due - time.perf_counter()))
        senders.send(chance.choice(bad if chance.random() < BAD_SHARE else good), due)


class _Senders:
    """Threads with kept connections, and the account of what they are answered."""

    def __init__(self, port: int, wanted: dict[str, Said], outcome: Outcome) -> None:
        self.outcome = outcome
        self._port, self._wanted = port, wanted
        self._pool = ThreadPoolExecutor(MOST_IN_FLIGHT)
        self._sent: list[Future[None]] = []
        self._free: SimpleQueue[Connection] = SimpleQueue()
        self._lock = threading.Lock()

    def send(self, case: Case, due: float) -> None:
        """Send a case on a thread of its own."""
        self.outcome.sent += 1
        self._sent.append(self._pool.submit(self._ask, case, due))

    def close(self) -> None:
        """Wait for all answers."""
        self._pool.shutdown()
        for each in self._sent:
            each.result()
        while not self._free.empty():
            self._free.get().close()

    def _ask(self, case: Case, due: float) -> None:
        try:
            connection = self._free.get_nowait()
        except Empty:
            connection = Connection(self._port)
        try:
            answer = connection.ask(case.request())
        except OSError as error:
            connection.close()
            with self._lock:
                self.outcome.others[f"by {type(error).__name__}"] += 1
            return
        took = (time.perf_counter() - due) * 1000
        self._free.put(connection)
        with self._lock:
            if answer.status == 429:
                self.outcome.refused += 1
                self.outcome.refused_silently += not answer.headers.get(b"retry-after", b"").isdigit()
            else:
                self._count(said(answer), self._wanted[case.name], took)

    def _count(self, found: Said, wanted: Said, took: float) -> None:
        if found.status == 200:
            self.outcome.accepted_ms.append(took)
            self.outcome.wrong += found != wanted
            self.outcome.passed_uninspected += wanted.status != 200 and found.verdict == "pass"
        elif found != wanted:
            self.outcome.others[str(found.status)] += 1

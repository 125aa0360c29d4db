"""`python -m tests.benchmarks.attacked`: is a camera served as well beside attacks as alone?

One camera sends images at a steady pace, in turn alone and beside attackers from another address, who hold
connections, drip headers, leave uploads unfinished, take no answers, flood addresses and send what cannot be
inspected. Prints the figures and writes them into docs/benchmarks.md; the exit status is 1 where a goal is
missed.
"""

import argparse
import multiprocessing
import random
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.attacks.callers import ATTACKER, SMALL_WINDOW, connected
from tests.benchmarks import processes
from tests.benchmarks.goals import Goal, goals_table
from tests.benchmarks.load import Connection, request
from tests.benchmarks.mixture import alone, bad_cases, good_cases, said
from tests.benchmarks.ways import PAGE, SHIPPED
from tests.marked import renew
from tests.serving import Serving, serving

MINUTES = 30.0
TURN_S = 30.0
PERIOD_S = 0.5  # of the camera
ATTACKERS = 2  # processes
PAUSE_S = (
    0.05  # of an attacker between two attacks, so that their own work leaves the processor to the service
)
HELD = 40  # connections that an attacker keeps open at once
MIB = 1024 * 1024

Attack = Callable[[ExitStack, int, random.Random], None]


@dataclass
class Found:
    """Latencies in ms alone and beside attacks, and what went wrong."""

    alone_ms: list[float] = field(default_factory=list)
    attacked_ms: list[float] = field(default_factory=list)
    wrong: int = 0
    idle_mib: float = 0.0
    after_mib: float = 0.0
    internal_errors: float = 0.0
    minutes: float = 0.0

    @property
    def goals(self) -> list[Goal]:
        """What an attack may cost others."""
        alone_ms, attacked_ms = (float(np.quantile(each, 0.99)) for each in (self.alone_ms, self.attacked_ms))
        return [
            Goal("good images answered wrongly or not at all", 0, "at most", self.wrong),
            Goal("p99 beside attacks / alone", 2, "at most", attacked_ms / alone_ms),
            Goal("memory afterwards, beyond idle", 100, "at most", self.after_mib - self.idle_mib, "MiB"),
            Goal("internal errors (500)", 0, "at most", self.internal_errors),
        ]

    @property
    def report(self) -> str:
        """The tables in Markdown."""
        rows = [("duration", f"{self.minutes:g} minutes, half of them beside attacks")]
        for name, times in (("alone", self.alone_ms), ("beside attacks", self.attacked_ms)):
            p50, p99 = np.quantile(times, (0.5, 0.99))
            rows.append((f"p50, p99 {name}", f"{p50:.0f}, {p99:.0f} ms of {len(times)} images"))
        lines = ["| attacks | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
        return "\n".join([*lines, "", *goals_table(self.goals)])


def _hold(stack: ExitStack, port: int, _: random.Random) -> None:
    """A connection that says nothing."""
    stack.enter_context(connected(port, ATTACKER))


def _drip(stack: ExitStack, port: int, _: random.Random) -> None:
    """A header without an end."""
    stack.enter_context(connected(port, ATTACKER)).sendall(b"GET /healthz HTTP/1.1\r\nX: ")


def _unfinished(stack: ExitStack, port: int, chance: random.Random) -> None:
    """An upload of which a part is missing."""
    head = request("/v1/inspections", "image/png", b"").replace(b"Length: 0", b"Length: 30000000")
    stack.enter_context(connected(port, ATTACKER)).sendall(head + bytes(chance.randrange(MIB)))


def _untaken(stack: ExitStack, port: int, _: random.Random) -> None:
    """Answers that nobody reads."""
    asked = request("/static/swagger-ui-bundle.js", "text/plain", b"", "GET") * 5
    stack.enter_context(connected(port, ATTACKER, window=SMALL_WINDOW)).sendall(asked)


def _flood(_: ExitStack, port: int, chance: random.Random) -> None:
    """Addresses that are long, unknown or cheap to ask for."""
    path = chance.choice(["/docs", "/openapi.json", "/" + "a" * 12_000, "/v1/recipes/../..", "/%ff"])
    with connected(port, ATTACKER) as client:
        client.sendall(request(path, "text/plain", b"", "GET"))
        client.recv(65536)


def _bad(_: ExitStack, port: int, chance: random.Random) -> None:
    """What cannot be inspected."""
    with connected(port, ATTACKER) as client:
        client.sendall(chance.choice(bad_cases()).request())
        client.recv(65536)


ATTACKS: tuple[Attack, ...] = (_hold, _drip, _unfinished, _untaken, _flood, _bad)


def _attacker(port: int, seconds: float, seed: int) -> None:
    """Attack for so long; what the service refuses is its right."""
    chance = random.Random(seed)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with ExitStack() as stack:
            for _ in range(HELD):
                with suppress(OSError):
                    chance.choice(ATTACKS)(stack, port, chance)
                time.sleep(PAUSE_S)


def measure(bundle: Path, minutes: float, turn_s: float = TURN_S) -> Found:
    """Serve the bundle; let the camera send alone and beside attackers in turn."""
    found = Found(minutes=minutes)
    cases = good_cases()
    with serving(bundle, device="cpu") as service:
        camera = Connection(service.port)
        wanted = alone(camera, cases)
        found.idle_mib = service.memory_mib("VmRSS")
        for number in range(max(2, round(minutes * 60 / turn_s))):
            attackers = [
                multiprocessing.Process(target=_attacker, args=(service.port, turn_s, 100 * number + each))
                for each in range(ATTACKERS if number % 2 else 0)
            ]
            for each in attackers:
                each.start()
            taken = found.attacked_ms if number % 2 else found.alone_ms
            for shot in range(round(turn_s / PERIOD_S)):
                begun = time.monotonic()
                case = cases[shot % len(cases)]
                found.wrong += said(camera.ask(case.request("?camera_id=line-1"))) != wanted[case.name]
                taken.append(1000 * (time.monotonic() - begun))
                time.sleep(max(0.0, begun + PERIOD_S - time.monotonic()))
            for each in attackers:
                each.join()
        time.sleep(12)  # until what was left open has been cut off
        found.after_mib = service.memory_mib("VmRSS")
        found.internal_errors = _internal_errors(service)
        camera.close()
    return found


def _internal_errors(service: Serving) -> float:
    connection = Connection(service.port)
    text = connection.ask(request("/metrics", "text/plain", b"", "GET")).body.decode()
    connection.close()
    lines = [
        line for line in text.splitlines() if line.startswith('passline_errors_total{code="internal_error"')
    ]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write; the exit status is 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.attacked", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--bundle", type=Path, default=SHIPPED)
    parser.add_argument("--page", type=Path, default=PAGE, help="the page with the markers to write between")
    options = parser.parse_args(arguments)
    found = measure(options.bundle, options.minutes)
    print(found.report)
    renew(options.page, "attacks", found.report)
    return int(not all(goal.reached for goal in found.goals))


if __name__ == "__main__":
    processes.end_in_order()
    sys.exit(main())

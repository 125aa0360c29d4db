"""Passline and other servers of the same graph, measured in turns with one, some and many clients.

Each peer's code is what its documentation suggests. LitServe and BentoML run with the fastest of their
settings, chosen in a few rounds. Clients are threads of one process, each with a kept connection, and
send the next image once the last is answered; a request that lies partly in a turn counts in part.
Images are PNG files of one tile, half of them with a defect. Servers that wait for their turn are halted
with SIGSTOP, since some poll when idle. Before the measurement, each server's answers are compared with
those of the same code in another process. Memory is the sum over a server's processes; shared pages
count in each.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from app.inspection.inspector import Inspector
from tests.benchmarks import processes
from tests.benchmarks.load import Turn, turn
from tests.benchmarks.peer_tables import BARE, Account, tables
from tests.benchmarks.servers import CANDIDATES, OURS, Peer, Server, passline, running
from tests.benchmarks.task import Task, bare, check_ours, check_peer, our_requests, task_of
from tests.benchmarks.ways import made_of

ROUNDS = 10
SECONDS = 2.5
CLIENTS = (1, 8, 32)
CHOOSING = (8, 5)  # clients and rounds by which a peer's settings are chosen
STARTS = 5

Turns = dict[str, list[Turn]]  # of each way, by round


@dataclass(frozen=True)
class Way:
    """One of those who take turns: what so many clients get of it in so many seconds, and its process."""

    name: str
    load: Callable[[int, float], Turn]
    server: Server | None = None


def measure(bundle: Path, rounds: int, seconds: float, names: Sequence[str]) -> str:
    """The tables of Passline against these peers, in Markdown."""
    task = task_of(Inspector.load(bundle, device="cpu"))
    tell("choosing the settings of each peer")
    peers = [_fastest(task, CANDIDATES[name], seconds) for name in names]
    starts: dict[str, Callable[[], AbstractContextManager[Server]]] = {OURS: partial(passline, bundle)}
    starts |= {peer.name: partial(running, peer, task.told(peer)) for peer in peers}
    tell("starting each server several times")
    ready_s = {name: _ready_after(start) for name, start in starts.items()}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(start()) for name, start in starts.items()}
        for name, server in servers.items():
            ready_s[name].append(server.ready_after_s)
        before = _resident(servers)
        requests = {OURS: our_requests(task)} | {peer.name: task.requests(peer) for peer in peers}
        check_ours(task, servers[OURS])
        for peer in peers:
            check_peer(task, peer, servers[peer.name])
        ways = [_way(server, requests[name]) for name, server in servers.items()]
        _halt(stack, ways)
        ways.insert(0, Way(BARE, lambda _, seconds: bare(task, seconds)))
        turns = {clients: alternate(ways, clients, rounds, seconds) for clients in CLIENTS}
        after = _resident(servers)
    settings = {OURS: "its defaults"} | {peer.name: peer.told for peer in peers}
    accounts = [
        Account(name, settings[name], float(np.median(ready_s[name])), before[name], after[name])
        for name in servers
    ]
    about = f"{rounds} rounds, {seconds:g} s a turn (10th-90th percentile of the rounds)."
    return "\n".join([made_of(task.inspector), about, "", *tables(turns, accounts)])


def alternate(ways: Sequence[Way], clients: int, rounds: int, seconds: float) -> Turns:
    """Every way a turn in every round, A B C A B C, all other servers halted."""
    turns: Turns = {way.name: [] for way in ways}
    for number in range(rounds):
        for way in ways:
            with _alone(way):
                turns[way.name].append(way.load(clients, seconds))
        tell(f"{clients} clients, round {number + 1} of {rounds}")
    return turns


@contextmanager
def _alone(way: Way) -> Iterator[None]:
    if way.server is None:
        yield
    else:
        with processes.awake(way.server.pid):
            yield


def _fastest(task: Task, candidates: Sequence[Peer], seconds: float) -> Peer:
    """The fastest of a peer's settings, by the median of a few rounds in turns."""
    if len(candidates) == 1:
        return candidates[0]
    clients, rounds = CHOOSING
    with ExitStack() as stack:
        ways = []
        for number, each in enumerate(candidates):
            server = stack.enter_context(running(each, task.told(each)))
            check_peer(task, each, server)
            ways.append(Way(str(number), _way(server, task.requests(each)).load, server))
        _halt(stack, ways)
        turns = alternate(ways, clients, rounds, seconds)
    rates = [float(np.median([each.per_s for each in turns[way.name]])) for way in ways]
    return candidates[int(np.argmax(rates))]


def _way(server: Server, requests: Sequence[bytes]) -> Way:
    return Way(server.name, partial(turn, server.port, requests), server)


def _halt(stack: ExitStack, ways: Sequence[Way]) -> None:
    for way in ways:
        if way.server is not None:
            stack.enter_context(processes.halted(way.server.pid))


def _ready_after(start: Callable[[], AbstractContextManager[Server]]) -> list[float]:
    """Seconds from the start of its process until a server says that it is ready, of all starts but one."""
    taken = []
    for _ in range(STARTS - 1):
        with start() as server:
            taken.append(server.ready_after_s)
    return taken


def tell(step: str) -> None:
    """Say on stderr how far it is: all of it takes a while."""
    print(f"{datetime.now(UTC):%H:%M:%S} {step}", file=sys.stderr, flush=True)


def _resident(servers: Mapping[str, Server]) -> dict[str, float]:
    return {name: processes.resident_mib(server.pid) for name, server in servers.items()}

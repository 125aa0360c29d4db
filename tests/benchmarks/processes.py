"""A server with all the processes it has started: what they hold, halting them, and ending them."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROC = Path("/proc")
GRACE_S = 15.0
POLL_S = 0.05


def family(pid: int) -> list[int]:
    """A process and all it has started, directly or not, as far as they live; itself first."""
    children: dict[int, list[int]] = {}
    for each in PROC.iterdir():
        if each.name.isdigit():
            with contextlib.suppress(OSError):  # it has just ended
                parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(each.name))
    found = [pid]
    for known in found:
        found += children.get(known, [])
    return found


def resident_mib(pid: int) -> float:
    """Resident memory of a family, in MiB; what its processes share counts in each."""
    return sum(_status(each, "VmRSS") for each in family(pid)) / 1024


def threads(pid: int) -> int:
    """Threads of one process."""
    return _status(pid, "Threads")


def open_files(pid: int) -> int:
    """Open files, sockets and pipes of one process."""
    return len(list((PROC / str(pid) / "fd").iterdir()))


@contextmanager
def halted(pid: int) -> Iterator[None]:
    """Let a family use no CPU at all: an idle server may poll."""
    tell(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        tell(pid, signal.SIGCONT)


@contextmanager
def awake(pid: int) -> Iterator[None]:
    """Let a halted family go on until the block ends."""
    tell(pid, signal.SIGCONT)
    try:
        yield
    finally:
        tell(pid, signal.SIGSTOP)


def tell(pid: int, what: signal.Signals) -> None:
    """Send a signal to a whole family."""
    for each in family(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, what)


def end(pid: int) -> None:
    """Ask a family to end, and kill what is left of it after a while; its head must be our own child."""
    members = family(pid)
    tell(pid, signal.SIGCONT)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + GRACE_S
    while time.monotonic() < until and any(map(_lives, members)):
        time.sleep(POLL_S)
    for each in filter(_lives, members):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def end_in_order() -> None:
    """Have a request to end unwind this program, so that no halted server is left behind."""

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)


def _lives(pid: int) -> bool:
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _status(pid: int, entry: str) -> int:
    with contextlib.suppress(OSError):
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith(f"{entry}:"):
                return int(line.split()[1])
    return 0  # it has ended

"""How much of the machine one inspection may use: the one place where counts of threads are decided.

What was measured (two cores, the shipped int8 graph, tiles a second compared with ONNX Runtime's defaults, by
`python -m tests.benchmarks.lanes`):

- Threads of ONNX Runtime that wait for work spin by default. As soon as anything else runs on the cores, a
  second image's decoding or the web server, a spinning thread takes the time that another needs. Without
  spinning next to nothing is lost on a quiet machine (0.96), and much is won on a busy one (1.5).
- One run on all cores leaves gaps where its threads wait for the last of them. As many runs beside each other
  as there are cores, each on one thread, leave none (1.4). But an image alone would have one core of many.
- A few tiles in one run on all cores are cheaper than one by one (1.2). On one thread there is no gain.

So there are two modes: one for few images, and one for when there are enough of them for every core.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2

CGROUP = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")  # the groups of this process, one hierarchy a line


@dataclass(frozen=True, slots=True)
class Mode:
    """A model run has so many CPU threads, and at most so many tiles."""

    threads: int
    max_batch: int


@dataclass(frozen=True, slots=True)
class Compute:
    """`lanes` runs at once, in the mode `few` while fewer images than lanes are in work, else in `many`."""

    lanes: int
    few: Mode
    many: Mode


def compute_on(*, gpu: bool, threads: int | None = None) -> Compute:
    """What a session gets; `threads` overrides the number of cores there are.

    A GPU runs one batch after the other, each as large as what waits: its memory is fixed for that, and one
    stream has no gaps to fill.
    """
    cores = threads or usable_cores()
    if gpu:
        whole = Mode(cores, 32)
        return Compute(1, whole, whole)
    return Compute(cores, Mode(cores, 4), Mode(1, 1))


def share_the_process() -> None:
    """Set up a process for many images at once: to be called once, by what serves.

    OpenCV's own threads would only compete with those that work on other images. And a thread that comes
    back from the model waits for the interpreter until another gives it up, by default after 5 ms.
    """
    cv2.setNumThreads(1)
    sys.setswitchinterval(0.0005)


def default_workers(threads: int | None = None) -> int:
    """How many images are worked on at once: those in the lanes, and two that are decoded meanwhile."""
    return (threads or usable_cores()) + 2


def usable_cores(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> int:
    """The cores that this process may use: by its affinity, and by the CPU quotas of its control groups.

    ONNX Runtime knows nothing of quotas: given half of the cores, twice as many threads would wait for them.
    """
    quotas = [quota for group in _groups(cgroup, membership) if (quota := _quota(group)) is not None]
    return max(1, round(min([len(os.sched_getaffinity(0)), *quotas])))


def _groups(cgroup: Path, membership: Path) -> Iterator[Path]:
    """The folders of the groups that limit this process's CPU time: its own, and all above it.

    A container often sees its own group as the root of the hierarchy while the process's path is the host's:
    folders that do not exist are skipped by the reader.
    """
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = []
    yield cgroup  # for a system that does not tell the process's groups
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):  # version 2 has one hierarchy, without names
            continue
        roots = {cgroup / controllers, cgroup / "cpu"} if controllers else {cgroup}
        own = PurePosixPath(path).relative_to("/")
        if ".." not in own.parts:  # else it lies outside of what this container sees
            yield from (root / above for root in roots for above in (own, *own.parents))


def _quota(group: Path) -> float | None:
    """How many cores' time a group may use; None where it has no limit. Version 2 has one file, 1 has two."""
    try:
        if (limit := group / "cpu.max").exists():
            quota, period = limit.read_text(encoding="ascii").split()
        else:
            quota, period = (
                (group / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period")
            )
        cores = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max" is no number
        return None
    return cores if cores > 0 else None

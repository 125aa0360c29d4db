"""How much of the machine one inspection may use: the one place where counts of threads are decided.

What was measured (two cores, the shipped int8 graph, tiles a second held against ONNX Runtime's defaults, by
`python -m tests.benchmarks.lanes`):

- Threads of ONNX Runtime that wait for work spin by default. As soon as anything else runs on the cores, a
  second picture's decoding or the web server, a spinning thread takes the time that another needs. Without
  spinning next to nothing is lost on a quiet machine (0.96), and much is won on a busy one (1.5).
- One run on all cores leaves gaps where its threads wait for the last of them. As many runs beside each other
  as there are cores, each on one thread, leave none (1.4). But a picture alone would have one core of many.
- A few tiles in one run on all cores are cheaper than one by one (1.2). On one thread there is no gain.

So there are two modes: one for few pictures, and one for when there are enough of them for every core.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Mode:
    """A model run has so many CPU threads, and at most so many tiles."""

    threads: int
    max_batch: int


@dataclass(frozen=True, slots=True)
class Compute:
    """`lanes` runs at once, in the mode `few` while fewer pictures than lanes are in work, else in `many`."""

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
    """Set up a process for many pictures at once: to be called once, by what serves.

    OpenCV's own threads would only compete with those that work on other pictures. And a thread that comes
    back from the model waits for the interpreter until another gives it up, by default after 5 ms.
    """
    cv2.setNumThreads(1)
    sys.setswitchinterval(0.0005)


def default_workers(threads: int | None = None) -> int:
    """How many pictures are worked on at once: those in the lanes, and two that are decoded meanwhile."""
    return (threads or usable_cores()) + 2


def usable_cores(cgroup: Path = CGROUP) -> int:
    """The cores that this process may use: by its affinity, and by the quota of its container if it has one.

    ONNX Runtime knows nothing of quotas: given half of the cores, twice as many threads would wait for them.
    """
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, round(int(quota) / int(period))))

"""CPU cores, thread counts and batch sizes: the only place where they are decided.

Measured with `python -m tests.benchmarks.lanes` on two cores with the shipped int8 graph. The factors
are tiles per second relative to ONNX Runtime's defaults.

- Idle threads of ONNX Runtime spin by default. A spinning thread takes time from other work on the same
  core, such as decoding the next image or the web server. Without spinning, throughput is nearly the
  same on an idle machine (0.96) and much higher on a busy one (1.5).
- One run on all cores leaves them idle while its threads wait for the slowest. One single-threaded run
  per core avoids that (1.4). But then a single image uses only one core.
- A few tiles in one batch on all cores are faster than one by one (1.2). On one thread there is no
  gain.

So there are two modes: one for few images, and one for enough images to keep every core busy.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2

CGROUP = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")  # the control groups of this process, one hierarchy per line


@dataclass(frozen=True, slots=True)
class Mode:
    """CPU threads and largest batch, in tiles, of one model run."""

    threads: int
    max_batch: int


@dataclass(frozen=True, slots=True)
class Compute:
    """`lanes` is the number of concurrent runs; `few` is for fewer images than lanes, else `many`."""

    lanes: int
    few: Mode
    many: Mode


def compute_on(*, gpu: bool, threads: int | None = None) -> Compute:
    """The lanes and modes of a session; `threads` overrides the number of usable cores.

    A GPU runs one batch at a time, with all waiting tiles up to the maximum: buffers have fixed sizes,
    and one stream keeps the GPU busy.
    """
    cores = threads or usable_cores()
    if gpu:
        whole = Mode(cores, 32)
        return Compute(1, whole, whole)
    return Compute(cores, Mode(cores, 4), Mode(1, 1))


def share_the_process() -> None:
    """Set up a process that inspects many images at once; the server calls it once.

    OpenCV's own threads would compete with the threads that work on other images. A thread that returns
    from the model waits for the interpreter lock; the switch interval, 5 ms by default, bounds that
    wait, so it is shortened.
    """
    cv2.setNumThreads(1)
    sys.setswitchinterval(0.0005)


def default_workers(threads: int | None = None) -> int:
    """Number of images processed at once: one per lane, and two that are being decoded."""
    return (threads or usable_cores()) + 2


def usable_cores(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> int:
    """The number of cores this process may use, by CPU affinity and control group quotas.

    ONNX Runtime ignores quotas: with a quota of half the cores it would start twice as many threads as
    can run.
    """
    quotas = [quota for group in control_groups(cgroup, membership) if (quota := _quota(group)) is not None]
    return max(1, round(min([len(os.sched_getaffinity(0)), *quotas])))


def control_groups(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> Iterator[Path]:
    """Folders of the control groups that limit this process's CPU time: its own and all above it.

    With cgroup v2 these limit its memory too.

    In a container the group is often mounted as the root of the hierarchy, but the path of the process
    is that on the host. `_quota` ignores folders that do not exist.
    """
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = []
    yield cgroup  # for systems without /proc/self/cgroup
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):  # v2 names none
            continue
        roots = {cgroup / controllers, cgroup / "cpu"} if controllers else {cgroup}
        own = PurePosixPath(path).relative_to("/")
        if ".." not in own.parts:  # else it is not visible in this container
            yield from (root / above for root in roots for above in (own, *own.parents))


def _quota(group: Path) -> float | None:
    """A group's CPU quota in cores; None without a limit. cgroup v2 has one file for it, v1 two."""
    try:
        if (limit := group / "cpu.max").exists():
            quota, period = limit.read_text(encoding="ascii").split()
        else:
            quota, period = (
                (group / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period")
            )
        cores = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max" is not a number
        return None
    return cores if cores > 0 else None

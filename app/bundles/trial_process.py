"""The child of a trial: reads orders from stdin, tries a bundle, and reports on stdout in one line of JSON.

It imports the core only, so that it starts quickly.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnxruntime as ort

from app.inspection.bundle.self_test import check_verdicts
from app.inspection.decoding.decode import DecodeLimits
from app.inspection.errors import PasslineError
from app.inspection.inference.runtime import CUDA
from app.inspection.inference.tensorrt import Engines
from app.inspection.inference.threads import control_groups
from app.inspection.inspector import Inspector

NICENESS = 5  # live images come first, but the trial still ends in time on a busy machine
MEMORY_SHARE = 2  # the process may take the usable memory divided by this
FIRST_VICTIM = "1000"  # if memory runs out, the kernel kills the trial and not the service
PR_SET_PDEATHSIG = 1


def main() -> int:
    """Try the bundle that the orders name; an error of the bundle is a result too."""
    orders = json.loads(sys.stdin.buffer.read())
    on_cpu = orders["device"] == "cpu" or CUDA not in ort.get_available_providers()
    restrict(orders["parent"], limits_memory=on_cpu)
    try:
        report = {"manifest_sha256": try_bundle(orders)}
    except PasslineError as error:
        report = {"code": error.code, "detail": str(error)}
    print(json.dumps(report), flush=True)
    return 0


def try_bundle(orders: dict[str, Any]) -> str:
    """Load and self-test a bundle as the service would; returns its manifest's SHA-256, or raises."""
    limits = DecodeLimits(max_bytes=orders["max_upload_bytes"], max_pixels=orders["max_pixels"])
    engines = None if orders["engines_dir"] is None else Engines(Path(orders["engines_dir"]))
    place = Path(orders["bundle"])
    inspector = Inspector.load(place, orders["device"], orders["threads"], limits, engines)
    check_verdicts(inspector.bundle, inspector.session.artifact)
    inspector.self_test()
    return inspector.bundle.manifest_sha256


def usable_memory(groups: Iterable[Path]) -> int:
    """Bytes that this process may use: the machine's, or less by the limit of a control group (v2)."""
    least = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for group in groups:
        with contextlib.suppress(OSError, ValueError):  # "max" is not a number
            least = min(least, int((group / "memory.max").read_text(encoding="ascii")))
    return least


def restrict(parent: int, *, limits_memory: bool) -> None:
    """Make this process end with its parent, give way to it, and be the first to go if memory runs out.

    `limits_memory` bounds its memory too; not with CUDA, which reserves far more than it uses.
    """
    with contextlib.suppress(OSError, AttributeError):  # not on every system
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended meanwhile
        sys.exit(1)
    os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_VICTIM)
    if limits_memory:
        most = usable_memory(control_groups()) // MEMORY_SHARE
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


if __name__ == "__main__":
    sys.exit(main())

"""Print the peak memory of decoding each image named, each in a process of its own.

A line of JSON for each: name, bytes of the decoded image, and by how many bytes the process grew at most.
"""

import json
import os
import pickle
import sys
from pathlib import Path

from app.inspection.decoding.decode import DecodeLimits, decode
from tests.attacks.large_images import MAKERS


def status(field: str) -> int:
    """A size of this process, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def measure(name: str, height: int, width: int) -> None:
    """Make an image in one process and decode it in another, which has never held more."""
    made, making = os.pipe()
    if os.fork() == 0:
        data = MAKERS[name](height, width)
        with os.fdopen(making, "wb") as out:
            pickle.dump(data, out)
        os._exit(0)
    os.close(making)

    with os.fdopen(made, "rb") as source:
        data = pickle.load(source)
    os.wait()
    if os.fork() == 0:
        Path("/proc/self/clear_refs").write_text("5")
        before = status("VmRSS")
        size = decode(data, DecodeLimits(max_bytes=1 << 30)).nbytes
        print(json.dumps([name, size, status("VmHWM") - before]), flush=True)
        os._exit(0)
    os.wait()


if __name__ == "__main__":
    side = int(sys.argv[1]), int(sys.argv[2])
    for each in sys.argv[3:] or MAKERS:
        measure(each, *side)

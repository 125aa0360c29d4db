"""Print the peak memory of decoding each image named, each in a process of its own.

A line of JSON for each: name, bytes of the decoded image, and by how many bytes the process grew at most.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.inspection.decoding.decode import DecodeLimits, decode
from app.inspection.decoding.raw import RawFrame
from tests.attacks.large_images import MAKERS


def status(field: str) -> int:
    """A size of this process, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def save(name: str, height: int, width: int, file: Path) -> None:
    """Write the bytes of an image."""
    made = MAKERS[name](height, width)
    file.write_bytes(made.data if isinstance(made, RawFrame) else made)


def measure(name: str, height: int, width: int, file: Path) -> None:
    """Print the peak of this process while it decodes an image."""
    held = file.read_bytes()
    is_raw = name.startswith("raw_")
    data = RawFrame(held, width, height, name.removeprefix("raw_")) if is_raw else held
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    before = status("VmRSS")
    size = decode(data, replace(DecodeLimits(), max_bytes=1 << 30)).nbytes
    print(json.dumps([name, size, status("VmHWM") - before]), flush=True)


def in_a_process(work: Callable[..., None], *arguments: Any) -> None:
    """Do the work in a copy of this process, which has never held more than what it imported."""
    child = os.fork()
    if child == 0:
        status_of = 1
        try:
            work(*arguments)
            status_of = 0
        finally:
            os._exit(status_of)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        sys.exit(f"{work.__name__} failed for {arguments[0]}")


if __name__ == "__main__":
    side = int(sys.argv[1]), int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        for each in sys.argv[3:] or MAKERS:
            path = Path(folder) / "image"
            in_a_process(save, each, *side, path)
            in_a_process(measure, each, *side, path)

"""The trial of a candidate: loaded and self-tested in a process of its own, which can be killed.

A graph can take memory or time without end, or crash ONNX Runtime. On a thread of the service nothing could
stop it. The process that fails instead takes nothing with it.
"""

import contextlib
import ctypes
import json
import logging
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from threading import Lock

import onnxruntime as ort

from app.inspection.errors import (
    BundleError,
    DeviceUnavailable,
    InferenceFailed,
    PasslineError,
    SelfTestFailed,
)
from app.inspection.inference.runtime import CUDA
from app.jobs.loading import load_inspector
from app.problems import kinds
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]  # where the child finds the package `app`
NICENESS = 5  # live images come first, but the trial still ends in time on a busy machine
MEMORY_SHARE = 2  # the process may take the machine's memory divided by this
FIRST_VICTIM = "1000"  # if memory runs out, the kernel kills the trial and not the service
PR_SET_PDEATHSIG = 1
MOST_CHARS = 4000  # of a message or of the child's last words
TELLABLE = {each.code: each for each in (*kinds(BundleError), DeviceUnavailable, InferenceFailed)}
log = logging.getLogger(__name__)


class Trial:
    """The trial of the bundle in a folder; run it once, on any thread, and stop it from another."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        self._directory = directory
        self._settings = settings
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def run(self) -> str:
        """Try the bundle and return the SHA-256 of its manifest; blocks.

        Raises the PasslineError that the child reports, or SelfTestFailed if it was killed, crashed, or did
        not end within the time that the settings give it.
        """
        seconds = self._settings.candidate_timeout_s
        with self._started() as process:
            try:
                out, err = process.communicate(self._orders(), seconds)
            except subprocess.TimeoutExpired as error:
                raise SelfTestFailed(
                    f"the bundle was not loaded, with all golden samples inspected, within {seconds} s; its "
                    "trial was ended. Use a smaller model, or raise PASSLINE_CANDIDATE_TIMEOUT_S"
                ) from error
            finally:
                process.kill()  # does nothing to one that has ended
        if process.returncode:
            log.warning("a trial ended early", extra={"reason": err.decode(errors="replace")[-MOST_CHARS:]})
            raise SelfTestFailed(f"the trial of the bundle {_ending(process.returncode)}")
        return _outcome(out)

    def stop(self) -> None:
        """Kill the child, and start none from now on; any thread may call this."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()

    def _started(self) -> subprocess.Popen[bytes]:
        # -P: no module of the working directory can take the place of ours
        command = [sys.executable, "-P", "-m", __name__]
        places = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
        with self._lock:
            if self._stopped:
                raise SelfTestFailed("the trial of the bundle was stopped before it began")
            try:
                self._process = subprocess.Popen(
                    command,
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            except OSError as error:
                raise SelfTestFailed(f"the trial of the bundle cannot be started: {error}") from error
            return self._process

    def _orders(self) -> bytes:
        settings = self._settings.model_dump(mode="json")
        orders = {"parent": os.getpid(), "directory": str(self._directory.resolve()), "settings": settings}
        return json.dumps(orders).encode()


def _ending(status: int) -> str:
    """How the child ended, in words."""
    if status < 0:
        name = signal.Signals(-status).name
        return f"was ended by {name}: it crashed, or there was not enough memory"
    return f"ended with status {status}; the service's log has its last words"


def _outcome(said: bytes) -> str:
    """The manifest's hash that the child reports; raises the error that it reports instead."""
    try:
        report = json.loads(said.splitlines()[-1])
        if "manifest_sha256" in report:
            return str(report["manifest_sha256"])
        code, detail = str(report["code"]), str(report["detail"])[:MOST_CHARS]
    except (ValueError, LookupError, TypeError) as error:
        raise SelfTestFailed("the trial of the bundle ended without a result") from error
    if code in TELLABLE:
        raise TELLABLE[code](detail)
    raise SelfTestFailed(f"the trial of the bundle failed: {code}: {detail}")


def main() -> int:
    """The child: read orders from stdin, try the bundle, and report on stdout in one line of JSON."""
    orders = json.loads(sys.stdin.buffer.read())
    settings = Settings.model_validate(orders["settings"])
    on_cpu = settings.device == "cpu" or CUDA not in ort.get_available_providers()
    restrict(orders["parent"], limits_memory=on_cpu)
    try:
        inspector = load_inspector(Path(orders["directory"]), settings)
        report = {"manifest_sha256": inspector.bundle.manifest_sha256}
    except PasslineError as error:
        report = {"code": error.code, "detail": str(error)}
    print(json.dumps(report), flush=True)
    return 0


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
        most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MEMORY_SHARE
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


if __name__ == "__main__":
    sys.exit(main())

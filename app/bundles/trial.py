"""The trial of a candidate: loaded and self-tested in a process of its own, which can be killed.

A graph can take memory or time without end, or crash ONNX Runtime. On a thread of the service nothing could
stop it. The process that fails instead takes nothing with it.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Lock

from app.inspection.errors import (
    BundleError,
    DeviceUnavailable,
    InferenceFailed,
    PasslineError,
    SelfTestFailed,
)
from app.problems import kinds
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]  # where the child finds the package `app`
CHILD = "app.bundles.trial_process"
MOST_CHARS = 4000  # of a message or of the child's last words
KINDS: tuple[type[PasslineError], ...] = (*kinds(BundleError), DeviceUnavailable, InferenceFailed)
TELLABLE = {each.code: each for each in KINDS}
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
        command = [sys.executable, "-P", "-m", CHILD]
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
        named = {"device", "threads", "engines_dir", "max_upload_bytes", "max_pixels"}
        settings = self._settings.model_dump(mode="json", include=named)
        return json.dumps(
            settings | {"parent": os.getpid(), "bundle": str(self._directory.resolve())}
        ).encode()


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

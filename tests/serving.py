"""The service as a process of its own, as it runs on a box."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from tests.markdown import ROOT

HOST = "127.0.0.1"
START_LIMIT_S = 60.0
POLL_S = 0.01


@dataclass(frozen=True)
class Serving:
    """A running service; `ready_after_s` is the time from its process' start to its first 200 at /readyz."""

    process: subprocess.Popen[bytes]
    port: int
    ready_after_s: float

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self.port}"

    def memory_mib(self, entry: str) -> float:
        """A line of the kernel's account of the process: VmRSS (resident now) or VmHWM (its peak), in MiB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{entry}:"):
                return int(line.split()[1]) / 1024
        raise LookupError(f"the kernel tells no {entry}")


@contextmanager
def serving(bundle: Path, **settings: str) -> Iterator[Serving]:
    """Serve a bundle until the block ends; `settings` are fields of Settings. Raises RuntimeError."""
    port = _free_port()
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PASSLINE_")}
    chosen = {"bundle_dir": str(bundle.resolve()), "host": HOST, "port": str(port)} | settings
    environment = kept | {f"PASSLINE_{key.upper()}": value for key, value in chosen.items()}
    with TemporaryFile() as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
        try:
            while not _ready(port):
                if process.poll() is not None or time.perf_counter() - started > START_LIMIT_S:
                    log.seek(0)
                    raise RuntimeError(f"the service did not become ready:\n{log.read().decode()[-2000:]}")
                time.sleep(POLL_S)
            yield Serving(process, port, time.perf_counter() - started)
        finally:
            process.terminate()
            process.wait(timeout=START_LIMIT_S)


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except ConnectionError:
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((HOST, 0))
        return int(free.getsockname()[1])

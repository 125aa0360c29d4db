"""The servers that are held against each other: how each is started, asked and ended."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from app.settings import PREFIX as OUR_PREFIX
from tests.benchmarks import processes
from tests.benchmarks.peers import plain
from tests.markdown import ROOT
from tests.serving import HOST, serving

PEERS_PYTHON = ROOT / ".venv-peers/bin/python"
START_LIMIT_S = 90.0
POLL_S = 0.01
OURS = "Passline"
MODULES = "tests.benchmarks.peers"
# No peer reports to anyone, and none writes into a home.
QUIET = {
    "ORT_DISABLE_TELEMETRY": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
    "PYTHONPATH": str(ROOT),
}


@dataclass(frozen=True)
class Peer:
    """A server other than Passline: its command, and one set of settings for it."""

    name: str
    command: tuple[str, ...]
    health: str = "/ready"
    field: str = "image"
    torch: bool = False  # runs the network in torch, not the graph
    settings: tuple[tuple[str, int], ...] = ()

    def with_settings(self, **settings: int) -> "Peer":
        """The same server set up in this way."""
        return replace(self, settings=tuple(settings.items()))

    @property
    def told(self) -> str:
        """Its settings in words."""
        return ", ".join(f"{name} {value}" for name, value in self.settings) or "its defaults"


@dataclass(frozen=True)
class Server:
    """A server that is ready, `ready_after_s` from the start of its process."""

    name: str
    pid: int
    port: int
    ready_after_s: float


def python(module: str, at: str = sys.executable) -> tuple[str, ...]:
    """The command that runs a module of ours."""
    return (at, "-m", f"{MODULES}.{module}")


TORCH = Peer("FastAPI + torch eager", python("fastapi_torch"), torch=True)
ONNX = Peer("FastAPI + ONNX Runtime", python("fastapi_onnx"))
LITSERVE = Peer("LitServe", python("litserve_onnx", str(PEERS_PYTHON)), "/health", "request")
BENTOML_COMMAND = (str(PEERS_PYTHON), "-m", "bentoml", "serve", f"{MODULES}.bentoml_onnx:Inspection")
BENTOML = Peer("BentoML", (*BENTOML_COMMAND, "--host", HOST, "--working-dir", str(ROOT)), "/readyz", "images")
# The settings that each peer may take; the fastest here is the one that is compared.
CANDIDATES: Mapping[str, tuple[Peer, ...]] = {
    "fastapi-torch": (TORCH,),
    "fastapi-onnx": (ONNX,),
    "litserve": (
        LITSERVE.with_settings(WORKERS=1, BATCH=1),
        LITSERVE.with_settings(WORKERS=1, BATCH=8),
        LITSERVE.with_settings(WORKERS=2, BATCH=1),
    ),
    "bentoml": (
        BENTOML.with_settings(WORKERS=1, THREADS=2, BATCH=1),
        BENTOML.with_settings(WORKERS=2, THREADS=1, BATCH=1),
        BENTOML.with_settings(WORKERS=1, THREADS=1, BATCH=8),
    ),
}


@contextmanager
def passline(bundle: Path) -> Iterator[Server]:
    """Passline with its default settings on the CPU."""
    with serving(bundle, device="cpu") as service:
        yield Server(OURS, service.process.pid, service.port, service.ready_after_s)


@contextmanager
def running(peer: Peer, told: plain.Told) -> Iterator[Server]:
    """A peer on a free port until the block ends; raises RuntimeError where it does not get ready."""
    port = free_port()
    command = [*peer.command, *(["--port", str(port)] if "bentoml" in peer.command else [])]
    with TemporaryDirectory() as folder, (Path(folder) / "log").open("w+b") as log:
        own = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith((OUR_PREFIX, plain.PREFIX))
        }
        own |= QUIET | told.as_environment() | {"BENTOML_HOME": folder, f"{plain.PREFIX}PORT": str(port)}
        own |= {plain.PREFIX + name: str(value) for name, value in peer.settings}
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=own, stdout=log, stderr=log)
        try:
            while not healthy(port, peer.health):
                if process.poll() is not None or time.perf_counter() > started + START_LIMIT_S:
                    log.seek(0)
                    raise RuntimeError(f"{peer.name} did not start:\n{log.read()[-2000:].decode()}")
                time.sleep(POLL_S)
            yield Server(peer.name, process.pid, port, time.perf_counter() - started)
        finally:
            processes.end(process.pid)
            process.wait()


def healthy(port: int, path: str) -> bool:
    """Whether the server says that it is ready."""
    with closing(http.client.HTTPConnection(HOST, port, timeout=START_LIMIT_S)) as connection:
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])

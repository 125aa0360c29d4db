"""The service as a process of its own, as `make serve` starts it on a box."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from app.settings import PREFIX
from tests.markdown import ROOT

HOST = "127.0.0.1"
START_LIMIT_S = 60.0
STOP_LIMIT_S = 60.0
POLL_S = 0.01
GREETED = re.compile(r"^(?:Every request|Passline listens).*\n", re.MULTILINE)


@dataclass(frozen=True)
class Serving:
    """A service that has greeted, `ready_after_s` from the start of its process, and with what words."""

    process: subprocess.Popen[bytes]
    logs: Path
    greeting: str
    ready_after_s: float

    @property
    def url(self) -> str:
        """Where it listens."""
        found = re.search(rf"https?://(?:{HOST}|\[::1\]):\d+", self.greeting)
        assert found, self.greeting
        return found.group()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rpartition(":")[2])

    def memory_mib(self, entry: str) -> float:
        """A line of the kernel's account of the process: VmRSS (resident now) or VmHWM (its peak), in MiB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{entry}:"):
                return int(line.split()[1]) / 1024
        raise LookupError(f"the kernel tells no {entry}")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> tuple[str, str]:
        """Have it stop; what it wrote to stdout and, after the greeting, to stderr."""
        self.process.send_signal(how)
        self.process.wait(timeout=STOP_LIMIT_S)
        out, err = ((self.logs / name).read_text() for name in ("stdout", "stderr"))
        return out, err.removeprefix(self.greeting)


def environment(**settings: object) -> dict[str, str]:
    """This process's environment with these settings, fields of Settings, and no others."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return own | {PREFIX + name.upper(): str(value) for name, value in settings.items()}


def app_command(*arguments: str) -> list[str]:
    """`passline` with warnings as errors."""
    return [sys.executable, "-W", "error", "-m", "app", *arguments]


@contextmanager
def serving(
    bundle_dir: Path, command: Sequence[str] = (), stdout: int | None = None, **settings: object
) -> Iterator[Serving]:
    """Serve a bundle on a free port until the block ends; raises RuntimeError where it does not start.

    `command` starts it in another way than usual, `stdout` is where its log goes instead of a file. It keeps
    no inspections, unless the setting `history` says so.
    """
    with TemporaryDirectory() as folder:
        own = {"bundle_dir": bundle_dir.resolve(), "host": HOST, "port": 0, "history": "off"}
        chosen = environment(**(own | {"data_dir": Path(folder) / "data"} | settings))
        logs = Path(folder)
        started = time.perf_counter()
        # Files and not pipes: a pipe that nobody reads fills up, and the service would wait for ever.
        with (logs / "stdout").open("wb") as out, (logs / "stderr").open("wb") as err:
            process = subprocess.Popen(
                [*(command or app_command("serve"))], cwd=ROOT, env=chosen, stdout=stdout or out, stderr=err
            )
        try:
            greeting = _greeting(process, logs / "stderr")
            yield Serving(process, logs, greeting, time.perf_counter() - started)
        finally:
            process.terminate()  # does nothing to one that has ended
            process.wait(timeout=STOP_LIMIT_S)


def _greeting(process: subprocess.Popen[bytes], err: Path) -> str:
    until = time.perf_counter() + START_LIMIT_S
    while True:
        ended = process.poll() is not None
        written = err.read_text()
        if greeted := GREETED.search(written):
            return written[: greeted.end()]
        if ended or time.perf_counter() > until:
            raise RuntimeError(f"the service did not greet:\n{written[-2000:]}")
        time.sleep(POLL_S)

"""The service in a process of its own, as `make serve` starts it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.settings import PREFIX

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Running:
    """A service that has greeted, and with what words."""

    process: subprocess.Popen[str]
    url: str
    greeting: str

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rsplit(":", 1)[1])

    def stop(self) -> tuple[str, str]:
        """Tell it to stop; what it wrote to stdout and, after the greeting, to stderr."""
        self.process.terminate()
        return self.process.communicate(timeout=60)


def environment(**settings: object) -> dict[str, str]:
    """This process's environment with these settings and no others."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return own | {PREFIX + name.upper(): str(value) for name, value in settings.items()}


def app_command(*arguments: str) -> list[str]:
    """`python -m app` with warnings as errors."""
    return [sys.executable, "-W", "error", "-m", "app", *arguments]


@contextmanager
def running(bundle_dir: Path, **settings: object) -> Iterator[Running]:
    """Serve on a free port until the block ends."""
    process = subprocess.Popen(
        app_command("serve"),
        cwd=ROOT,
        env=environment(**({"bundle_dir": bundle_dir, "port": 0, "threads": 1} | settings)),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        greeting = process.stderr.readline()
        while not greeting.splitlines()[-1].startswith(("Every request", "Passline listens")):
            line = process.stderr.readline()
            assert line, f"the service ended: {greeting}"
            greeting += line
        found = re.search(r"http://[\d.]+:\d+", greeting)
        assert found, greeting
        yield Running(process, found.group(), greeting)
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60)

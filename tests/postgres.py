"""A PostgreSQL server of the tests' own: in a temporary folder, reached by a socket, ended with the run."""

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import quote

import psycopg

INSTALLED = Path("/usr/lib/postgresql")  # where Debian puts each version
MISSING = "PostgreSQL is not installed (Debian: apt install postgresql)"
# Nothing of a test has to survive a power cut; a small server leaves memory to the tests.
OPTIONS = ("fsync=off", "shared_buffers=32MB", "max_connections=300", "listen_addresses=")
UNPRIVILEGED = ("postgres", "nobody")  # root may not run the server


class Cluster:
    """A running server; each database is used by one test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count(1)

    def new_database(self) -> str:
        """The address of a new and empty database, as `PASSLINE_DATABASE_URL` has it."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(host=str(self._folder), dbname="postgres", user="passline") as connection:
            connection.autocommit = True
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql+psycopg://passline@/{name}?host={quote(str(self._folder), safe='')}"


def binaries() -> Path | None:
    """The folder of the newest version's programs; None if none is installed."""
    found = [path.parent for path in INSTALLED.glob("*/bin/initdb")]
    return max(found, key=lambda path: [int(part) for part in re.findall(r"\d+", str(path))], default=None)


@contextmanager
def cluster(programs: Path) -> Iterator[Cluster]:
    """Make a cluster, run it, and remove it.

    Texts sort by the rules of a language there, as they do in most plants' databases and not in SQLite.
    """
    folder, user = Path(mkdtemp(prefix="passline-pg-")), _user()
    if user is not None:
        shutil.chown(folder, user)
    data = folder / "data"
    run = _Programs(programs, folder, user)
    try:
        locale = ("--encoding=UTF8", "--locale-provider=icu", "--icu-locale=en-US")
        run("initdb", "--username=passline", "--auth=trust", "--no-sync", *locale, str(data))
        options = [f"-c {option}" for option in OPTIONS] + [f"-k {folder}"]
        run("pg_ctl", "-D", str(data), "-w", "-l", str(folder / "log"), "-o", " ".join(options), "start")
        try:
            yield Cluster(folder)
        finally:
            run("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Programs:
    """Calls of the server's programs, by a user who may run it."""

    def __init__(self, folder: Path, home: Path, user: str | None) -> None:
        self._folder, self._home, self._user = folder, home, user

    def __call__(self, name: str, *arguments: str) -> None:
        command: Sequence[str] = [str(self._folder / name), *arguments]
        group = None if self._user is None else pwd.getpwnam(self._user).pw_gid
        # No pipe: the server that pg_ctl starts would hold it open.
        done = subprocess.run(
            command,
            cwd=self._home,
            user=self._user,
            group=group,
            extra_groups=None if group is None else [],
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "Asia/Kathmandu"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            log = self._home / "log"
            raise RuntimeError(f"{name} failed: {log.read_text() if log.is_file() else command}")


def _user() -> str | None:
    """Who runs the server; None: the one who runs the tests."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in UNPRIVILEGED if name in known)

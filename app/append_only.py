"""Numbered files in a folder, each written whole and left alone: what is kept outlives a power cut."""

import contextlib
import os
import re
from pathlib import Path
from uuid import uuid4

from pydantic import BaseModel, ConfigDict

_FILE = re.compile(r"[0-9]{8}\.json")


class Taken(Exception):
    """Another process has written the file that comes next."""


class Kept(BaseModel):
    """Base of what is kept in files: frozen, and a key that is not known is refused.

    Shapes of their own, so that a change of the HTTP API never makes files unreadable that are there already.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


class NumberedFiles:
    """JSON files named by their number alone, so that nothing in them ever becomes a path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._last = 0

    def read(self) -> list[tuple[Path, bytes]]:
        """Every file in order, none where there is no folder yet; raises OSError."""
        try:
            files = sorted(path for path in self.folder.iterdir() if _FILE.fullmatch(path.name))
        except FileNotFoundError:
            return []
        self._last = int(files[-1].stem) if files else 0
        return [(path, path.read_bytes()) for path in files]

    def append(self, text: str) -> None:
        """Keep the next file; once this returns it outlives a power cut. Raises OSError or Taken.

        Where it raises, nothing is kept. Killed in between it leaves a file that is not one of these, or all
        of the text.
        """
        self.folder.mkdir(exist_ok=True)
        _write_whole(self.folder / f"{self._last + 1:08d}.json", text)
        self._last += 1


def _write_whole(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{uuid4().hex}.tmp")
    with unfinished.open("x", encoding="utf-8") as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            # A second name, then the first taken away: unlike a rename it never replaces what is there.
            path.hardlink_to(unfinished)
        except FileExistsError:
            raise Taken from None
        finally:
            unfinished.unlink()
    try:
        for folder in (path.parent, path.parent.parent):  # the file's name, and that of a folder just made
            _sync(folder)
    except OSError:
        with contextlib.suppress(OSError):  # what was not kept for certain must not come back at a restart
            path.unlink()
        raise


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

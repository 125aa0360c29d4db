"""Numbered files in a folder, each written completely and never changed; they survive a power cut."""

import contextlib
import os
import re
from pathlib import Path
from uuid import uuid4

from pydantic import BaseModel, ConfigDict

_FILE = re.compile(r"[0-9]{8}\.json")


class Taken(Exception):
    """Another process has already written the next file."""


class Kept(BaseModel):
    """Base of stored records: frozen, and unknown keys are refused.

    Records are separate from the shapes of the HTTP API, so a change of the API never makes stored files
    unreadable.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


class NumberedFiles:
    """JSON files named only by their number, so that no content ever becomes a path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._last = 0

    def read(self) -> list[tuple[Path, bytes]]:
        """Read every file in order; empty if there is no folder yet. Raises OSError."""
        try:
            files = sorted(path for path in self.folder.iterdir() if _FILE.fullmatch(path.name))
        except FileNotFoundError:
            return []
        self._last = int(files[-1].stem) if files else 0
        return [(path, path.read_bytes()) for path in files]

    def append(self, text: str) -> None:
        """Write the next file; once this returns, it survives a power cut. Raises OSError or Taken.

        If it raises, nothing is stored. A process killed meanwhile leaves either a temporary file, which is
        ignored, or the complete file.
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
            # Add a second name, then remove the first: unlike a rename, this never replaces an existing file.
            path.hardlink_to(unfinished)
        except FileExistsError:
            raise Taken from None
        finally:
            unfinished.unlink()
    try:
        for folder in (path.parent, path.parent.parent):  # the file's name, and that of a new folder
            _sync(folder)
    except OSError:
        with contextlib.suppress(OSError):  # a file that may be lost must not reappear after a restart
            path.unlink()
        raise


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

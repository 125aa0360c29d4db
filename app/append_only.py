"""Numbered files in a folder, each written completely and never changed; they survive a power cut.

The file `.last` holds the highest number, so that a missing last file is noticed like one in between.
"""

import contextlib
import os
import re
from pathlib import Path
from uuid import uuid4

from pydantic import BaseModel, ConfigDict

_FILE = re.compile(r"[0-9]{8}\.json")
_LAST = ".last"


class Taken(Exception):
    """Another process has already written the next file."""


class Incomplete(Exception):
    """A file is missing; the message names it, and the remedy."""


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
        """Read every file in order; empty if there is no folder yet. Raises OSError or Incomplete."""
        try:
            files = sorted(path for path in self.folder.iterdir() if _FILE.fullmatch(path.name))
        except FileNotFoundError:
            return []
        for number, path in enumerate(files, 1):
            if int(path.stem) != number:
                raise Incomplete(_missing(self.folder, number, f"before {path.name}"))
        if len(files) < (last := self._stored_last()):
            raise Incomplete(_missing(self.folder, len(files) + 1, f"of {last}"))
        self._last = len(files)
        return [(path, path.read_bytes()) for path in files]

    def _stored_last(self) -> int:
        """The highest number written; it may be one too low after a power cut, and 0 without the file."""
        try:
            text = (self.folder / _LAST).read_text(encoding="ascii")
            return int(text)
        except FileNotFoundError:
            return 0
        except ValueError as error:
            raise Incomplete(f"{self.folder / _LAST} holds no number; restore it, or delete it") from error

    def append(self, text: str) -> None:
        """Write the next file; once this returns, it survives a power cut. Raises OSError or Taken.

        If it raises, nothing is stored. A process killed meanwhile leaves either a temporary file, which is
        ignored, or the complete file.
        """
        self.folder.mkdir(exist_ok=True)
        _write_whole(self.folder / f"{self._last + 1:08d}.json", text)
        self._last += 1
        with contextlib.suppress(OSError):  # the change itself is stored
            unfinished = self.folder / f".{uuid4().hex}.tmp"
            unfinished.write_text(f"{self._last}\n", encoding="ascii")
            unfinished.replace(self.folder / _LAST)


def _missing(folder: Path, number: int, where: str) -> str:
    return (
        f"{folder / f'{number:08d}.json'} is missing {where}; restore it from a backup, or move the folder"
        " away to start without its history"
    )


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

"""Files of images and masks, by date and hash, below one folder."""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Protocol

from app.errors import ServingError


class ImageNotStored(ServingError):
    """The image of an inspection could not be kept, so its verdict was not given.

    The disk of `PASSLINE_DATA_DIR` is full or cannot be written.

    Remedy: Make room or correct the folder; or set `PASSLINE_HISTORY=off`, and nothing is kept.

    Retry: when the cause is corrected
    """

    code = "image_not_stored"
    title = "The image could not be kept"
    status = 503


class ImageFiles(Protocol):
    """Where images and masks are; names are relative, such as `images/2026/12/01/HASH-ID.png`."""

    def put(self, name: str, data: bytes) -> None:
        """Store a whole file or nothing; raises ImageNotStored."""

    def get(self, name: str) -> bytes | None:
        """The file's content; None if there is none any more."""

    def delete(self, name: str) -> None:
        """Delete a file; nothing happens if there is none."""


class FolderFiles:
    """Files in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, name: str, data: bytes) -> None:
        """Store a whole file or nothing; raises ImageNotStored.

        It is not synchronised with the disk: a power cut may lose the last seconds' images, and
        `passline history verify` then names them.
        """
        place = self.folder / name
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            descriptor, unfinished = tempfile.mkstemp(dir=place.parent, prefix=".")
            try:
                with os.fdopen(descriptor, "wb") as out:
                    out.write(data)
                Path(unfinished).replace(place)
            except OSError:
                Path(unfinished).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise ImageNotStored(f"{place} cannot be written: {error.strerror}") from error

    def get(self, name: str) -> bytes | None:
        """The file's content; None if there is none any more."""
        try:
            return (self.folder / name).read_bytes()
        except OSError:
            return None

    def delete(self, name: str) -> None:
        """Delete a file, and the folder of its day once it is empty."""
        place = self.folder / name
        with contextlib.suppress(OSError):
            place.unlink(missing_ok=True)
            place.parent.rmdir()

"""The one form in which every reader hands over a labelled picture."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.decode import DecodeLimits, decode
from app.inspection.errors import ImageError

Pixels = NDArray[np.uint8]


class DatasetError(ValueError):
    """A data set does not have the layout its reader expects; the message names the file and the fix."""


@dataclass(frozen=True)
class Blob:
    """Bytes in a file, or in a part of one (a member of a tar shard)."""

    path: Path
    offset: int = 0
    size: int | None = None

    def read(self) -> bytes:
        """Return the bytes; raises DatasetError if the file is gone or shorter than announced."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read(-1 if self.size is None else self.size)
        except OSError as error:
            raise DatasetError(f"{self.path} cannot be read ({error}); check the data root") from error
        if self.size is not None and len(data) != self.size:
            raise DatasetError(f"{self.path} ends early; copy the shard again")
        return data


@dataclass(frozen=True)
class Sample:
    """One labelled picture.

    `group` joins pictures of one part; a split never separates them. `mask` is None for good pictures and
    for defective ones whose label names no pixels. With `mask_class` set, mask values over 127 are that
    class; without it, a mask value is the class number itself (0 background).
    """

    name: str
    group: str
    source: str
    picture_class: str
    defective: bool
    image: Blob
    mask: Blob | None = None
    mask_class: int | None = None

    def pixels(self) -> Pixels:
        """Return the picture as grey uint8 [H, W]; raises DatasetError if it does not decode."""
        return _grey(self.image, self.name)

    def label_map(self, size: tuple[int, ...]) -> Pixels | None:
        """Return class numbers as uint8 [H, W], or None where the pixels of the defect are unknown.

        `size` is the picture's (H, W). Raises DatasetError where the mask does not decode or has another.
        """
        if self.mask is None:
            return None if self.defective else np.zeros(size, np.uint8)
        values = _grey(self.mask, f"mask of {self.name}")
        if values.shape != size:
            raise DatasetError(
                f"mask of {self.name} ({self.mask.path}) is {values.shape[1]} x {values.shape[0]} px; "
                f"it must be as large as its picture, {size[1]} x {size[0]} px"
            )
        if self.mask_class is not None:
            values = np.where(values > 127, np.uint8(self.mask_class), np.uint8(0))
        return None if self.defective and not values.any() else values


@contextmanager
def named(name: str, blob: Blob) -> Iterator[None]:
    """Turn what the core says of a picture into a DatasetError that names it and its file."""
    try:
        yield
    except ImageError as error:
        raise DatasetError(f"{name} ({blob.path}): {error}") from error


def _grey(blob: Blob, name: str) -> Pixels:
    """Decode as the service does: another decoder would fill what a cut file lacks with grey, silently."""
    with named(name, blob):
        pixels = decode(blob.read(), DecodeLimits())
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8) if pixels.ndim == 3 else pixels

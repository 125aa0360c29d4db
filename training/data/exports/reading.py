"""Shared by all readers of exports: finding images by name, their sizes, and notes for the user."""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.data.exports.shapes import Shape
from training.data.listing import PARTS
from training.data.named_images import NamedImages
from training.data.sample import DatasetError, Faults, Published, Size

_ORIENTATION, _SIDEWAYS = 0x0112, (5, 6, 7, 8)  # of EXIF: these swap width and height


@dataclass(frozen=True)
class Exported:
    """One image of an export and its marks; `size` is (height, width), upright."""

    path: Path
    size: Size
    shapes: Sequence[Shape]
    split: Published | None = None


@dataclass
class Reading:
    """The root of an export, and what is found while it is read.

    `classes` are all that the tool declares, in its order. `notes` are sentences for the user.
    """

    root: Path
    faults: Faults = field(default_factory=Faults)
    classes: dict[str, None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @cached_property
    def images(self) -> NamedImages:
        """All images below the root."""
        return NamedImages(self.root)

    def declare(self, names: Iterable[str]) -> None:
        """Note classes of the export."""
        self.classes.update(dict.fromkeys(names))

    def note(self, count: int, what: str) -> None:
        """Note that something was found in some number of places."""
        if count:
            self.notes.append(f"{count} {what}")

    def note_unnamed(self, named: Collection[Path]) -> None:
        """Note images below the root that no annotation file names, which are left out."""
        unnamed = sorted(set(self.images.paths) - set(named))
        if unnamed:
            self.notes.append(
                f"{len(unnamed)} images are named by no annotation that is used, such as {unnamed[0]}: they "
                "are left out"
            )

    def split_of(self, path: Path) -> Published | None:
        """The published split named by a folder above the file; the nearest folder wins."""
        folders = path.relative_to(self.root).parts[-2::-1]
        return next((PARTS[name.lower()] for name in folders if name.lower() in PARTS), None)


@contextmanager
def in_place(where: str) -> Iterator[None]:
    """Turn the exceptions of a malformed file into a DatasetError that names the place."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        if isinstance(error, DatasetError):
            raise
        said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise DatasetError(f"{where} cannot be read ({said}); export it anew") from error


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; raises DatasetError if it is not valid JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is no JSON ({error}); export it anew") from error


def size_of(path: Path) -> Size:
    """Return the (height, width) of an upright image from its header; raises DatasetError without one."""
    with _opened(path) as image:
        width, height = image.size
        sideways = image.getexif().get(_ORIENTATION) in _SIDEWAYS
    return (width, height) if sideways else (height, width)


def values_of(mask: Path, size: Size, mode: str | None = None) -> NDArray[np.uint8]:
    """Return a mask [H, W] or [H, W, C] in Pillow's mode, its own values where None.

    Raises DatasetError where it cannot be read or its image has another size.
    """
    with _opened(mask) as image:
        if image.size != size[::-1]:
            raise DatasetError(
                f"{mask} is {image.width} x {image.height} px, but its image has {size[1]} x {size[0]} px; "
                "export both anew"
            )
        try:
            return np.array(image if mode is None else image.convert(mode))
        except (OSError, ValueError, SyntaxError) as error:
            raise DatasetError(f"{mask} cannot be decoded ({error}); export it anew") from error


def check_stated(stated: Size, size: Size, where: str) -> None:
    """Raise DatasetError where a tool annotated an image of another size."""
    if stated != size:
        raise DatasetError(
            f"{where}: annotated at {stated[1]} x {stated[0]} px, but the image has "
            f"{size[1]} x {size[0]} px; give the image that was annotated"
        )


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        image = Image.open(path)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); copy or export it anew") from error
    with image:
        yield image

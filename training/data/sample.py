"""Samples and data sets: the common output of all readers, and class bits."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from app.inspection.decoding.decode import decode
from app.inspection.errors import ImageError
from app.inspection.types import Name
from training.data.webp import WebPInvalid, as_png, is_webp
from training.limits import limits

Pixels = NDArray[np.uint8]
# Class bits: bit k - 1 is set where a pixel shows class k, bit 15 where it is ignored. Classes overlap.
Bits = NDArray[np.uint16]
Flags = NDArray[np.bool_]
Size = tuple[int, int]  # height, width in pixels
Published = Literal["train", "validation", "test"]

MAX_CLASSES = 15  # class bits have 16 bits, one of them for ignored pixels
IGNORED_NUMBER = MAX_CLASSES + 1  # class number of ignored pixels, which enter no loss and no metric
IGNORED = np.uint16(1 << MAX_CLASSES)  # the bit of ignored pixels
DEFECTS = np.uint16(IGNORED - 1)  # the bits of all classes
_BIT_OF_NUMBER = np.array([0, *(1 << k for k in range(MAX_CLASSES))], np.uint16)
_NAME: TypeAdapter[str] = TypeAdapter(Name)
# Reserved names: good images, and files of golden samples (NAME.png with NAME.mask.png, good-2.png).
_TAKEN = re.compile(r"good(-\d+)?|.*\.mask", re.IGNORECASE)


class DatasetError(ValueError):
    """An invalid data set; the message names the file and the fix."""


class Faults:
    """Collects the faults of a set, so that one error reports all of them."""

    def __init__(self) -> None:
        """Start without faults."""
        self._found: list[str] = []

    def add(self, fault: str) -> None:
        """Add one fault, if it is new."""
        if fault not in self._found:
            self._found.append(fault)

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Add the DatasetError raised in the block, instead of raising it."""
        try:
            yield
        except DatasetError as error:
            self.add(str(error))

    def refuse(self) -> None:
        """Raise DatasetError with all faults, if there are any."""
        if len(self._found) > 1:
            raise DatasetError("\n".join([f"the set has {len(self._found)} faults:", *self._found]))
        if self._found:
            raise DatasetError(self._found[0])


@dataclass(frozen=True)
class Blob:
    """Bytes in a file, or in a part of one (a member of a tar shard)."""

    path: Path
    offset: int = 0
    size: int | None = None

    def read(self) -> bytes:
        """Return the bytes, WebP converted to PNG; raises DatasetError for a missing or broken file."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read(-1 if self.size is None else self.size)
        except OSError as error:
            raise DatasetError(f"{self.path} cannot be read ({error}); check the data root") from error
        if self.size is not None and len(data) != self.size:
            raise DatasetError(f"{self.path} ends early; copy the shard again")
        try:
            return as_png(data) if is_webp(data) else data
        except WebPInvalid as error:
            raise DatasetError(f"{self.path} cannot be read: {error}") from error


class Annotation(Protocol):
    """Where the defects of one image are."""

    def draw(self, size: Size) -> Bits:
        """Return the class bits [H, W] of an image of that size; raises DatasetError if it misfits."""


class Mask(Annotation, Protocol):
    """An annotation that contains the classes of its image."""

    def numbers(self) -> list[int]:
        """Return the class numbers that occur; raises DatasetError if the mask cannot be read."""


@dataclass(frozen=True)
class MaskFile:
    """A mask as an encoded image: values over 127 mark `marked_class`; None means class numbers."""

    blob: Blob
    marked_class: int | None = None

    def draw(self, size: Size) -> Bits:
        """Return the class bits [H, W]; raises DatasetError if the mask is unreadable or misfits."""
        values = read_mask(self.blob, size)
        if self.marked_class is None:
            return bits_of(values)
        return np.where(values > 127, class_bit(self.marked_class), np.uint16(0))


@dataclass(frozen=True)
class Sample:
    """One labelled image.

    `group` is the same for all images of one part; a split never separates them. `picture_class` is the
    image's label: a class name, several joined by commas, or `good`. `annotation` is None if no pixels
    are marked; for a good image, only the audit and ignored pixels use it. `split` is the published
    split, if any. `unlabelled` says why the label is unknown, if it comes from a mask that cannot be
    read; such an image counts as defective and is used by the audit only. `ignores` is True if the
    annotation holds ignored pixels.
    """

    name: str
    group: str
    source: str
    picture_class: str
    defective: bool
    image: Blob
    annotation: Annotation | None = None
    split: Published | None = None
    unlabelled: str | None = None
    ignores: bool = False

    def pixels(self) -> Pixels:
        """Return the image as grey uint8 [H, W]; raises DatasetError if it does not decode."""
        return _grey(self.image, self.name)

    def class_bits(self, size: Size) -> Bits | None:
        """Return the class bits [H, W]; a good image has at most IGNORED. None if no defect is marked.

        `size` is the image's (height, width). Raises DatasetError if the annotation does not fit.
        """
        if not self.defective and not self.ignores:
            return np.zeros(size, np.uint16)
        if self.annotation is None:
            return None
        try:
            bits = self.annotation.draw(size)
        except DatasetError as error:
            raise DatasetError(f"{self.name}: {error}") from error
        if not self.defective:
            return bits & IGNORED
        return bits if defects(bits).any() else None


@dataclass(frozen=True)
class Dataset:
    """Result of a reader: the defect classes in the order of their numbers, from 1, and the samples.

    `notes` are decisions of the reader that the user may not expect.
    """

    classes: tuple[str, ...]
    samples: Sequence[Sample]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise DatasetError for no or too many classes, or class names that a bundle does not allow."""
        if not self.classes:
            raise DatasetError("the set has no defect class: it holds good images only; add defective ones")
        if len(self.classes) > MAX_CLASSES:
            raise DatasetError(
                f"the set has {len(self.classes)} defect classes; at most {MAX_CLASSES} can be trained "
                "together: merge some in the configuration, labels: classes"
            )
        if wrong := wrong_name(self.classes):
            raise DatasetError(wrong)


def class_bit(number: int) -> np.uint16:
    """The bit of the class with this number (1, 2, ...), or of IGNORED_NUMBER; 0 for number 0."""
    return np.uint16(1 << number >> 1)


def bits_of(numbers: Pixels) -> Bits:
    """Convert class numbers (0 for no class) into class bits, both [H, W].

    Raises DatasetError for a number beyond MAX_CLASSES.
    """
    if numbers.size and numbers.max() > MAX_CLASSES:
        raise DatasetError(f"its mask holds class number {numbers.max()}; at most {MAX_CLASSES} is possible")
    return _BIT_OF_NUMBER[numbers]


def class_mask(bits: Bits, number: int) -> Flags:
    """The pixels of the class with this number, bool [H, W]."""
    return (bits & class_bit(number)) > 0


def defects(bits: Bits) -> Flags:
    """The pixels of any class, bool [H, W]."""
    return (bits & DEFECTS) > 0


def counted(bits: Bits) -> Flags:
    """The pixels that are not ignored, bool [H, W]."""
    return np.asarray((bits & IGNORED) == 0)


def ignored_alone(bits: Bits) -> Bits:
    """The class bits with all classes removed from ignored pixels."""
    return np.where(counted(bits), bits, IGNORED)


def read_mask(blob: Blob, size: Size) -> Pixels:
    """Read a mask as grey uint8 [H, W]; raises DatasetError if unreadable or of wrong size."""
    values = _grey(blob, "mask")
    check_size(blob, values.shape, size)
    return values


def check_size(mask: Blob, shape: tuple[int, ...], size: Size) -> None:
    """Raise DatasetError if a mask has not the size of its image."""
    if shape != size:
        raise DatasetError(
            f"its mask ({mask.path}) is {shape[1]} x {shape[0]} px; "
            f"it must be as large as its image, {size[1]} x {size[0]} px"
        )


@contextmanager
def named(name: str, blob: Blob) -> Iterator[None]:
    """Convert an ImageError of the core into a DatasetError that names the image and its file."""
    try:
        yield
    except ImageError as error:
        raise DatasetError(f"{name} ({blob.path}): {error}") from error


def _grey(blob: Blob, name: str) -> Pixels:
    """Decode as the service does; other decoders silently fill truncated files with grey."""
    with named(name, blob):
        return grey(decode(blob.read(), limits()))


def grey(pixels: Pixels) -> Pixels:
    """Convert decoded pixels, grey [H, W] or RGB [H, W, 3], to grey [H, W]."""
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8) if pixels.ndim == 3 else pixels


def wrong_name(names: Sequence[str]) -> str | None:
    """Describe the first class name that a bundle does not allow, and the fix; None if all are valid.

    Names that differ only in case count as equal, because some file systems do not distinguish them.
    """
    before: dict[str, str] = {}
    for name in names:
        if not _is_spelled_well(name):
            return (
                f"'{name}' cannot name a defect class: at most 64 letters without accents, digits, '.', '_' "
                f"and '-' can, a letter or digit first; call it '{spelled_well(name)}', or rename it in the "
                f"configuration, labels: classes: {{'{name}': {spelled_well(name)}}}"
            )
        if _TAKEN.fullmatch(name):
            return f"'{name}' cannot name a defect class: golden samples are called so; call it otherwise"
        if other := before.get(name.lower()):
            return f"'{other}' and '{name}' cannot name two defect classes; give each a name of its own"
        before[name.lower()] = name
    return None


def _is_spelled_well(name: str) -> bool:
    try:
        _NAME.validate_python(name)
    except ValidationError:
        return False
    return True


def spelled_well(name: str) -> str:
    """A name that a bundle can hold, as near to this one as it gets."""
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", letters).strip("._-")[:64]
    return "defect" if not name or _TAKEN.fullmatch(name) else name

"""The one form in which every reader hands over its labelled images."""

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
from training.limits import limits

Pixels = NDArray[np.uint8]
# Class bits: bit k - 1 is set where a pixel shows class k, bit 15 where it counts nowhere. Classes overlap.
Bits = NDArray[np.uint16]
Flags = NDArray[np.bool_]
Size = tuple[int, int]  # height, width in pixels
Published = Literal["train", "validation", "test"]

MAX_CLASSES = 15  # as many as class bits have room for
IGNORED_NUMBER = MAX_CLASSES + 1  # stands for pixels that count in no loss and no figure
IGNORED = np.uint16(1 << MAX_CLASSES)  # their bit
DEFECTS = np.uint16(IGNORED - 1)  # the bits of all classes
_BIT_OF_NUMBER = np.array([0, *(1 << k for k in range(MAX_CLASSES))], np.uint16)
_NAME: TypeAdapter[str] = TypeAdapter(Name)
# Good images are called so, and the files of golden samples: NAME.png with NAME.mask.png, good-2.png.
_TAKEN = re.compile(r"good(-\d+)?|.*\.mask", re.IGNORECASE)


class DatasetError(ValueError):
    """A data set does not have the layout its reader expects; the message names the file and the fix."""


class Faults:
    """Collects what is wrong with a set, so that its user hears of everything at once."""

    def __init__(self) -> None:
        """Start with none."""
        self._found: list[str] = []

    def add(self, fault: str) -> None:
        """Note one fault."""
        if fault not in self._found:
            self._found.append(fault)

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Note the DatasetError of the block instead of raising it."""
        try:
            yield
        except DatasetError as error:
            self.add(str(error))

    def refuse(self) -> None:
        """Raise DatasetError with everything noted, if anything was."""
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


class Annotation(Protocol):
    """Where the defects of one image are."""

    def draw(self, size: Size) -> Bits:
        """Return the class bits [H, W] of an image of that size; raises DatasetError where they misfit."""


class Mask(Annotation, Protocol):
    """An annotation that tells by itself what its image shows."""

    def numbers(self) -> list[int]:
        """Return the class numbers that occur; raises DatasetError where the mask cannot be read."""


@dataclass(frozen=True)
class MaskFile:
    """A mask as an encoded image; values over 127 are `marked_class`, or all are class numbers without."""

    blob: Blob
    marked_class: int | None = None

    def draw(self, size: Size) -> Bits:
        """Return the class bits [H, W]; raises DatasetError where the mask does not decode or fit."""
        values = read_mask(self.blob, size)
        if self.marked_class is None:
            return bits_of(values)
        return np.where(values > 127, class_bit(self.marked_class), np.uint16(0))


@dataclass(frozen=True)
class Sample:
    """One labelled image.

    `group` joins images of one part; a split never separates them. `picture_class` is the image's label:
    a class name, several joined by commas, or `good`. `annotation` is None where the set marks no pixels; of
    a good image it is there for the audit alone. `split` is the part the set's publishers put it in, if
    any. `unlabelled` says why nobody can tell the label, where the mask that would tell it cannot be read;
    such an image counts as defective, and only the audit is given it. `ignores` says that the annotation
    holds pixels that count nowhere.
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
        """Return the class bits [H, W], of a good image IGNORED at most; None where no defect is marked.

        `size` is the image's (height, width). Raises DatasetError where the annotation does not fit it.
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
    """What a reader found: the defect classes in the order of their numbers, 1 first, and the images.

    `notes` say what a reader decided that its user may not expect.
    """

    classes: tuple[str, ...]
    samples: Sequence[Sample]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse more classes than class bits can hold, and names that no bundle can hold."""
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
    """The bit of the class with this number (1, 2, ...), or of IGNORED_NUMBER; none for 0."""
    return np.uint16(1 << number >> 1)


def bits_of(numbers: Pixels) -> Bits:
    """Turn class numbers (0 where there is none) into class bits, both [H, W].

    Raises DatasetError for a number beyond MAX_CLASSES.
    """
    if numbers.size and numbers.max() > MAX_CLASSES:
        raise DatasetError(f"its mask holds class number {numbers.max()}; at most {MAX_CLASSES} is possible")
    return _BIT_OF_NUMBER[numbers]


def class_mask(bits: Bits, number: int) -> Flags:
    """Where the class with this number is, bool [H, W]."""
    return (bits & class_bit(number)) > 0


def defects(bits: Bits) -> Flags:
    """Where any class is, bool [H, W]."""
    return (bits & DEFECTS) > 0


def counted(bits: Bits) -> Flags:
    """Where pixels count, bool [H, W]: all but the ignored ones."""
    return np.asarray((bits & IGNORED) == 0)


def ignored_alone(bits: Bits) -> Bits:
    """The same class bits, where ignored pixels show no class."""
    return np.where(counted(bits), bits, IGNORED)


def read_mask(blob: Blob, size: Size) -> Pixels:
    """Read a mask as grey uint8 [H, W]; raises DatasetError where it does not decode or has another size."""
    values = _grey(blob, "mask")
    check_size(blob, values.shape, size)
    return values


def check_size(mask: Blob, shape: tuple[int, ...], size: Size) -> None:
    """Raise DatasetError unless a mask is as large as its image."""
    if shape != size:
        raise DatasetError(
            f"its mask ({mask.path}) is {shape[1]} x {shape[0]} px; "
            f"it must be as large as its image, {size[1]} x {size[0]} px"
        )


@contextmanager
def named(name: str, blob: Blob) -> Iterator[None]:
    """Turn what the core says of an image into a DatasetError that names it and its file."""
    try:
        yield
    except ImageError as error:
        raise DatasetError(f"{name} ({blob.path}): {error}") from error


def _grey(blob: Blob, name: str) -> Pixels:
    """Decode as the service does: another decoder would fill what a cut file lacks with grey, silently."""
    with named(name, blob):
        return grey(decode(blob.read(), limits()))


def grey(pixels: Pixels) -> Pixels:
    """Decoded pixels, grey [H, W] or RGB [H, W, 3], as the network is given them: grey."""
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8) if pixels.ndim == 3 else pixels


def wrong_name(names: Sequence[str]) -> str | None:
    """Say what is wrong with the first name that no bundle can hold, and what would be right; None if none.

    Names that differ in upper and lower case alone count as one: some file systems do not tell them apart.
    """
    before: dict[str, str] = {}
    for name in names:
        if not _is_spelled_well(name):
            return (
                f"'{name}' cannot name a defect class: at most 64 letters without accents, digits, '.', '_' "
                f"and '-' can, a letter or digit first; call it '{_spelled_well(name)}', or rename it in the "
                f"configuration, labels: classes: {{'{name}': {_spelled_well(name)}}}"
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


def _spelled_well(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", letters).strip("._-")[:64]
    return "defect" if not name or _TAKEN.fullmatch(name) else name

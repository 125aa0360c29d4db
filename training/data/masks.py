"""Masks as image files, and the meaning of their values; a value without a defined meaning is an error.

By default, a mask holds 0 and one other value, which marks the defect. `classes.txt` names class numbers
(one name per line, from 1), CVAT's `labelmap.txt` names colours, and `labels: mask_values` in the
configuration names any values.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from app.inspection.decoding.decode import decode_mask
from app.inspection.errors import PasslineError, ReferenceMaskInvalid
from training.data.classes import GOOD, IGNORE, Classes, classes_of
from training.data.mask_values import LABELMAP, MARKED, explained
from training.data.sample import (
    IGNORED_NUMBER,
    Bits,
    Blob,
    DatasetError,
    Size,
    check_size,
    class_bit,
)
from training.labels import LabelsConfig
from training.limits import limits

SINGLE = ("defect",)  # the class of masks without class names
WHITE = 255
EXPLAIN = (
    "name them in classes.txt, or say what each value means, as labels: {mask_values: {1: dent, 2: pit, "
    "255: ignore}} in the stage of the configuration or in the file of --labels, or for soft edges "
    "labels: {mask_threshold: 128}"
)

Values = frozenset[int]


class Meaning(Protocol):
    """The meaning of mask values."""

    def numbers(self, found: Values) -> dict[int, int]:
        """The class number of each value found, 0 for no defect; raises DatasetError if unknown."""

    @property
    def colours(self) -> bool:
        """Whether the values are colours, 0xRRGGBB."""


@dataclass(frozen=True)
class OneClass:
    """Masks of 0 and one other value, which marks class `number`; with `threshold`, any grey values."""

    number: int = 1
    threshold: int | None = None
    colours: bool = False

    def numbers(self, found: Values) -> dict[int, int]:
        """The class number of each value found."""
        if self.threshold is not None:
            if found - {0} and max(found) < self.threshold:
                raise DatasetError(
                    f"it holds {_listed(found)}, all below mask_threshold {self.threshold}, so that its "
                    "marks would be lost; lower it, or use the same values in all masks"
                )
            return {value: self.number if value >= self.threshold else 0 for value in found}
        if len(found - {0}) > 1:
            raise DatasetError(f"it holds {_listed(found)}, and nothing says what they mean: {EXPLAIN}")
        return {value: self.number if value else 0 for value in found}


@dataclass(frozen=True)
class Named:
    """Masks whose values are defined by `source`; `meant` maps each value to its class number.

    A value 255 that `meant` lacks means ignored pixels if the mask also holds class numbers. Alone with
    0, it may be white for a defect: it marks the class if there is only one, otherwise it is an error.
    With `strict`, 255 is always an unknown value.
    """

    meant: Mapping[int, int]
    source: str
    colours: bool = False
    strict: bool = False

    def numbers(self, found: Values) -> dict[int, int]:
        """The class number of each value found."""
        meant = dict(self.meant)
        if not self.colours and not self.strict and WHITE not in meant and WHITE in found:
            if found - {0, WHITE}:
                meant[WHITE] = IGNORED_NUMBER
            elif meant.keys() == {0, 1}:  # 1 is the only class
                meant[WHITE] = meant[1]
            else:
                raise DatasetError(
                    f"it holds 255, which is no class; 0 to {max(meant)} are right, or say what it means in "
                    "the configuration, labels: mask_values: {255: ignore}"
                )
        unknown = sorted(found - set(meant))
        if unknown:
            shown = [f"#{value:06x}" for value in unknown] if self.colours else unknown
            raise DatasetError(
                f"it holds {_listed(shown)}, of which {self.source} says nothing; add it there"
            )
        return {value: meant[value] for value in found}


@dataclass(frozen=True)
class MaskImage:
    """A mask as an encoded image; `found` are the values it holds, None if not yet known."""

    blob: Blob
    meaning: Meaning
    found: Values | None = None

    def draw(self, size: Size) -> Bits:
        """Return the class bits [H, W]; raises DatasetError if unreadable, of wrong size or value."""
        values = _decoded(self.blob, self.meaning.colours)
        check_size(self.blob, values.shape, size)
        numbers = self._explained(_found(values))
        if self.meaning.colours:
            bits = np.zeros(size, np.uint16)
            for value, number in numbers.items():
                bits[values == value] = class_bit(number)
            return bits
        table = np.zeros(max(numbers) + 1, np.uint16)
        for value, number in numbers.items():
            table[value] = class_bit(number)
        drawn: Bits = table[values]
        return drawn

    def numbers(self) -> list[int]:
        """Return the class numbers that occur; raises DatasetError if the mask cannot be read."""
        found = values_of(self.blob, self.meaning.colours) if self.found is None else self.found
        return sorted(set(self._explained(found).values()) - {0})

    def _explained(self, found: Values) -> dict[int, int]:
        try:
            return self.meaning.numbers(found)
        except DatasetError as error:
            raise DatasetError(f"its mask ({self.blob.path}) cannot be used: {error}") from error


@dataclass(frozen=True)
class MaskSet:
    """All masks of a set: the meaning of their values, and their classes.

    `meant` maps values to class names; None if each mask marks one class by any value. `source` says
    where `meant` is defined, `found` holds the values of each mask file. `unused` are names that no mask
    shows.
    """

    classes: Classes
    meant: Mapping[int, str] | None
    source: str
    colours: bool
    threshold: int | None
    found: Mapping[Path, Values]
    unused: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def tell_classes(self) -> bool:
        """Whether mask values identify the class; otherwise the layout gives it."""
        return self.meant is not None and MARKED not in self.meant.values()

    def image(self, blob: Blob, name: str) -> MaskImage:
        """The mask in a file; `name` is its class by the layout, or GOOD."""
        found = self.found.get(blob.path)
        marks = 1 if name == GOOD else 0 if self.tell_classes else self.classes.number(name)
        if self.meant is None:  # marks on a good image have no class: class 1 lets the audit report them
            return MaskImage(blob, OneClass(marks, self.threshold), found)
        meant = {value: self._number(each, marks) for value, each in self.meant.items()}
        return MaskImage(blob, Named({0: 0} | meant, self.source, self.colours), found)

    def _number(self, meant: str, marked: int) -> int:
        if meant == IGNORE:
            return IGNORED_NUMBER
        if meant == MARKED:
            return marked
        return 0 if meant == GOOD or meant in self.unused else self.classes.number(meant)


def read_mask_set(root: Path, labels: LabelsConfig, blobs: Iterable[Blob], names: Sequence[str]) -> MaskSet:
    """Determine the meaning of all masks of a set. Decodes them all.

    `names` are the classes of the layout. Unreadable masks are skipped here and reported with their
    image. Raises DatasetError if masks of one class each use different values, or if the definitions
    conflict.
    """
    meant, source, colours = explained(root, labels)
    every = list(blobs)
    found = _survey(every, colours)
    if meant is None:
        if labels.mask_threshold is None:
            _refuse_different(found)
        classes = classes_of(names, labels)
        return MaskSet(
            classes, None, "", False, labels.mask_threshold, found, notes=tuple(classes.notes(names))
        )
    if labels.mask_threshold is not None:
        raise DatasetError(f"{source} and mask_threshold both say what values mean; leave one of them out")
    _refuse_white_of_two_meanings(found, meant)
    known = [name for name in meant.values() if name not in (GOOD, IGNORE, MARKED)]
    shown = frozenset[int]().union(*found.values())
    used = [name for value, name in meant.items() if name in known and value in shown]
    if not used or len(found) < len(every):  # an unreadable mask may show any class
        used = list(known)
    used += [name for name in names if MARKED in meant.values()]
    unused = [name for name in dict.fromkeys(known) if name not in used]
    classes = classes_of(used, labels, known)
    notes = [f"no mask shows {', '.join(unused)} of {source}: left out"] if unused else []
    notes += classes.notes(used)
    return MaskSet(classes, meant, source, colours, None, found, frozenset(unused), tuple(notes))


def values_of(blob: Blob, colours: bool = False) -> Values:
    """The values that a mask holds; raises DatasetError if it cannot be read."""
    return _found(_decoded(blob, colours))


def _found(values: NDArray[np.integer[Any]]) -> Values:
    """The values that occur; for 8 bits, counting is much faster than sorting."""
    if values.dtype == np.uint8:
        return frozenset(np.flatnonzero(np.bincount(values.ravel())).tolist())
    return frozenset(np.unique(values).tolist())


def _decoded(blob: Blob, colours: bool) -> NDArray[np.integer[Any]]:
    try:
        return decode_mask(blob.read(), limits(), colours)
    except ReferenceMaskInvalid as error:
        raise DatasetError(
            f"mask ({blob.path}) is in colour, and nothing says which colour is which class: put CVAT's "
            f"{LABELMAP} into the set's root (lines 'dent:250,50,83::'), or save class numbers as grey values"
        ) from error
    except PasslineError as error:
        raise DatasetError(f"mask ({blob.path}) cannot be used: {error}") from error


def _survey(blobs: Sequence[Blob], colours: bool) -> dict[Path, Values]:
    def values(blob: Blob) -> Values | None:
        try:
            return values_of(blob, colours)
        except DatasetError:  # reported when the mask is used
            return None

    with ThreadPoolExecutor() as pool:
        found = pool.map(values, blobs)
        return {blob.path: each for blob, each in zip(blobs, found, strict=True) if each is not None}


def _refuse_different(found: Mapping[Path, Values]) -> None:
    """Raise DatasetError if masks mark by different values, other than 1 and 255: class numbers."""
    marks = Counter(next(iter(values - {0})) for values in found.values() if len(values - {0}) == 1)
    if len(marks) > 1 and set(marks) != {1, WHITE}:
        counts = ", ".join(f"{value} ({count} masks)" for value, count in sorted(marks.items()))
        raise DatasetError(f"the masks hold {counts}, and nothing says what they mean: {EXPLAIN}")


def _refuse_white_of_two_meanings(found: Mapping[Path, Values], meant: Mapping[int, str]) -> None:
    """Raise DatasetError if, in a set of one class, 255 is used both alone and beside class numbers."""
    if len([name for name in meant.values() if name != GOOD]) != 1 or WHITE in meant:
        return
    alone = sorted(path for path, values in found.items() if values - {0} == {WHITE})
    beside = sorted(path for path, values in found.items() if WHITE in values and values - {0, WHITE})
    if alone and beside:
        raise DatasetError(
            f"{beside[0]} holds 255 beside class numbers, {alone[0]} holds 255 alone ({len(alone)} masks); "
            "say what it means in the configuration, labels: mask_values: {1: dent, 255: ignore}"
        )


def _listed(values: Iterable[object]) -> str:
    shown = sorted(map(str, values), key=lambda each: (len(each), each))
    return ", ".join(shown[:6]) + (f" and {len(shown) - 6} other values" if len(shown) > 6 else "")

"""Masks as image files, and what their values mean: nothing is guessed of a value that nobody explained.

Without any word of it, a mask holds 0 and one other value, which marks the defect. Class numbers are named by
`classes.txt` (one name a line, 1 first), colours by `labelmap.txt` of CVAT, any values by `labels:
mask_values` of the configuration.
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

SINGLE = ("defect",)  # the class of masks that name none
WHITE = 255
EXPLAIN = (
    "name them in classes.txt, or say what each value means, as labels: {mask_values: {1: dent, 2: pit, "
    "255: ignore}} in the stage of the configuration or in the file of --labels, or for soft edges "
    "labels: {mask_threshold: 128}"
)

Values = frozenset[int]


class Meaning(Protocol):
    """What the values of a mask mean."""

    def numbers(self, found: Values) -> dict[int, int]:
        """The class number of each value found, 0 for no defect; raises DatasetError for an unknown one."""

    @property
    def colours(self) -> bool:
        """Whether the values are colours, 0xRRGGBB."""


@dataclass(frozen=True)
class OneClass:
    """Masks of 0 and one other value, which marks the class `number`; with a threshold, of any greys."""

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
    """Masks whose values `source` explains: `meant` has the class number of each.

    Beside class numbers, 255 is what tools write for pixels that count nowhere; where it stands alone it may
    as well be white for a defect, and is refused unless there is only one class. Where masks are `strict`, it
    means nothing at all.
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
    """A mask as an encoded image; `found` are the values it holds, None where not yet known."""

    blob: Blob
    meaning: Meaning
    found: Values | None = None

    def draw(self, size: Size) -> Bits:
        """Return the class bits [H, W]; raises DatasetError where the mask does not decode, fit or mean."""
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
        """Return the class numbers that occur; raises DatasetError where the mask cannot be read."""
        found = values_of(self.blob, self.meaning.colours) if self.found is None else self.found
        return sorted(set(self._explained(found).values()) - {0})

    def _explained(self, found: Values) -> dict[int, int]:
        try:
            return self.meaning.numbers(found)
        except DatasetError as error:
            raise DatasetError(f"its mask ({self.blob.path}) cannot be used: {error}") from error


@dataclass(frozen=True)
class MaskSet:
    """All masks of a set: what their values mean, and the classes they show.

    `meaning` is that of masks that tell classes themselves; None where each marks one class.
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
        """Whether a mask says which class it shows; else the layout has to."""
        return self.meant is not None and MARKED not in self.meant.values()

    def image(self, blob: Blob, name: str) -> MaskImage:
        """The mask in a file; `name` is the class that the layout says it marks."""
        found = self.found.get(blob.path)
        marks = 1 if name == GOOD else 0 if self.tell_classes else self.classes.number(name)
        if self.meant is None:  # what the mask of a good image marks is of no class, but a fault
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
    """Find out what the masks of a set mean; this decodes them all.

    `names` are the classes that the layout gives. Masks that cannot be read are left to the label of their
    image. Raises DatasetError where masks of one class each hold different values.
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
    if not used or len(found) < len(every):  # what a mask that cannot be read shows, nobody knows
        used = list(known)
    used += [name for name in names if MARKED in meant.values()]
    unused = [name for name in dict.fromkeys(known) if name not in used]
    classes = classes_of(used, labels, known)
    notes = [f"no mask shows {', '.join(unused)} of {source}: left out"] if unused else []
    notes += classes.notes(used)
    return MaskSet(classes, meant, source, colours, None, found, frozenset(unused), tuple(notes))


def values_of(blob: Blob, colours: bool = False) -> Values:
    """The values that a mask holds; raises DatasetError where it cannot be read."""
    return _found(_decoded(blob, colours))


def _found(values: NDArray[np.integer[Any]]) -> Values:
    """The values that occur; of 8 bits, counting is much faster than sorting."""
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
        except DatasetError:  # said where the mask is asked for
            return None

    with ThreadPoolExecutor() as pool:
        found = pool.map(values, blobs)
        return {blob.path: each for blob, each in zip(blobs, found, strict=True) if each is not None}


def _refuse_different(found: Mapping[Path, Values]) -> None:
    """Masks of one class mark it by one value; 1 and 255 are both usual, but two others are class numbers."""
    marks = Counter(next(iter(values - {0})) for values in found.values() if len(values - {0}) == 1)
    if len(marks) > 1 and set(marks) != {1, WHITE}:
        counts = ", ".join(f"{value} ({count} masks)" for value, count in sorted(marks.items()))
        raise DatasetError(f"the masks hold {counts}, and nothing says what they mean: {EXPLAIN}")


def _refuse_white_of_two_meanings(found: Mapping[Path, Values], meant: Mapping[int, str]) -> None:
    """With one class, 255 alone marks it and 255 beside 1 is ignored; in one set it cannot be both."""
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

"""The forms in which layouts mark defects, each drawn only when it is asked for; annotation files in JSON.

A picture turned by its EXIF is drawn upright, as the service decodes it, so an annotation must fit that size.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pydantic import BaseModel, ConfigDict, ValidationError

from app.inspection.decoding.decode import DecodeLimits, decode, decode_reference_mask
from app.inspection.errors import ReferenceMaskError
from training.data.sample import (
    Annotation,
    Bits,
    Blob,
    DatasetError,
    Pixels,
    Size,
    bits_of,
    class_bit,
    class_mask,
    named,
    read_mask,
)

REACH_PX = 1.0  # how far tools let an outline stand over the picture's edge, by rounding
Flags = NDArray[np.bool_]
Points = tuple[tuple[float, float], ...]  # x, y in pixels


class Checked(BaseModel):
    """A part of an annotation file in JSON; what it does not name is of no meaning to a reader."""

    model_config = ConfigDict(frozen=True, extra="ignore")


CheckedFile = TypeVar("CheckedFile", bound=Checked)


def read_checked(path: Path, model: type[CheckedFile]) -> CheckedFile:
    """Return the file as that model; raises DatasetError that names the first place that does not fit."""
    return parse_checked(path.read_bytes(), model, str(path))


def parse_checked(data: bytes, model: type[CheckedFile], where: str) -> CheckedFile:
    """Return JSON as that model, like `read_checked`; `where` names it."""
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        place = ".".join(map(str, wrong[0]["loc"])) or "as a whole"
        more = f" ({len(wrong)} such places)" if len(wrong) > 1 else ""
        raise DatasetError(f"{where}: {place}: {wrong[0]['msg']}{more}; export it anew") from error


@dataclass(frozen=True)
class MarkedMask:
    """A mask as an encoded picture that marks one class, without telling how: by 255, or by 1."""

    blob: Blob
    number: int = 1

    def draw(self, size: Size) -> Bits:
        """Return the class bits [H, W]; raises DatasetError where the mask does not decode or fit."""
        return bits_where(marked(read_mask(self.blob, size)), self.number)

    def numbers(self) -> list[int]:
        """Return the number if anything is marked; this decodes the mask, and raises DatasetError as draw."""
        with named("mask", self.blob):
            return [self.number] if decode(self.blob.read(), DecodeLimits()).any() else []


@dataclass(frozen=True)
class NumberedMask:
    """A mask as an encoded picture of class numbers, 0 to `count`; a palette's indices are the numbers."""

    blob: Blob
    count: int

    def draw(self, size: Size) -> Bits:
        """Return the class bits [H, W]; raises DatasetError where the mask does not decode, fit or number."""
        try:
            numbers, tells_classes = decode_reference_mask(self.blob.read(), size, self.count)
        except ReferenceMaskError as error:
            raise DatasetError(f"its mask ({self.blob.path}) cannot be used: {error}") from error
        if not tells_classes and self.count > 1:
            raise DatasetError(
                f"its mask ({self.blob.path}) holds 255, which is no class; 0 to {self.count} are right"
            )
        return bits_of(numbers)

    def numbers(self) -> list[int]:
        """Return the class numbers that occur; this decodes the mask. Raises DatasetError where it cannot."""
        with named("mask", self.blob):
            height, width = decode(self.blob.read(), DecodeLimits()).shape[:2]
        bits = self.draw((height, width))
        return [number for number in range(1, self.count + 1) if class_mask(bits, number).any()]


@dataclass(frozen=True)
class RunLengths:
    """Runs of pixels of one class down the columns: (start, length), the top left pixel being 0.

    `where` names the file and line, for errors.
    """

    number: int
    runs: tuple[tuple[int, int], ...]
    where: str

    def draw(self, size: Size) -> Bits:
        """Return the class bits [H, W]; raises DatasetError for a run that ends beyond the picture."""
        flat = np.zeros(size[0] * size[1], np.uint16)
        for start, length in self.runs:
            if start + length > flat.size:
                raise DatasetError(
                    f"{self.where}: the run '{start + 1} {length}' ends beyond the picture, which has "
                    f"{size[1]} x {size[0]} = {flat.size} pixels"
                )
            flat[start : start + length] = class_bit(self.number)
        return flat.reshape(size, order="F")


@dataclass(frozen=True)
class CocoRuns:
    """One class as COCO's run lengths, compressed text or numbers, of a picture of `size` (height, width)."""

    number: int
    size: Size
    counts: str | tuple[int, ...]
    where: str

    def draw(self, size: Size) -> Bits:
        """Return the class bits [H, W]; raises DatasetError for another size and for broken runs."""
        fits(self.size, size, self.where)
        counts = uncompress(self.counts, self.where) if isinstance(self.counts, str) else self.counts
        if min(counts, default=0) < 0 or sum(counts) != size[0] * size[1]:
            raise DatasetError(
                f"{self.where}: its run lengths must be 0 or more and add up to {size[1]} x {size[0]}"
            )
        flags = np.repeat(np.arange(len(counts)) % 2 > 0, counts)  # by turns outside and inside
        return bits_where(flags.reshape(size, order="F"), self.number)


@dataclass(frozen=True)
class Polygons:
    """One class as the union of polygons, each x1, y1, x2, y2, ... in pixels, drawn as COCO does."""

    number: int
    rings: tuple[tuple[float, ...], ...]
    where: str

    def draw(self, size: Size) -> Bits:
        """Return the class bits [H, W]; raises DatasetError for a corner outside the picture."""
        for ring in self.rings:
            refuse_outside(tuple(zip(ring[::2], ring[1::2], strict=True)), size, self.where)
        rings: Any = [list(ring) for ring in self.rings]  # its type stub knows only whole numbers
        drawn = coco_mask.frPyObjects(rings, *size)
        merged: Any = coco_mask.merge(drawn)["counts"]
        return CocoRuns(self.number, size, merged.decode(), self.where).draw(size)


@dataclass(frozen=True)
class Layers:
    """Several annotations of one picture over each other; classes may overlap.

    `size` (height, width) is what the annotation file says of the picture, None where it says nothing.
    """

    parts: tuple[Annotation, ...]
    size: Size | None
    where: str

    def draw(self, size: Size) -> Bits:
        """Return the class bits [H, W]; raises DatasetError where the picture has another size."""
        if self.size is not None:
            fits(self.size, size, self.where)
        bits = np.zeros(size, np.uint16)
        for part in self.parts:
            bits |= part.draw(size)
        return bits


def marked(values: Pixels) -> Flags:
    """Where a mask marks something: over half of white, or over 0 where it holds nothing so bright."""
    return values > (127 if values.max(initial=0) > 127 else 0)


def bits_where(flags: Flags, number: int) -> Bits:
    """Return class bits [H, W] that hold one class where `flags` [H, W] says."""
    return np.where(flags, class_bit(number), np.uint16(0))


def uncompress(text: str, where: str) -> tuple[int, ...]:
    """Return the run lengths of COCO's compressed form; raises DatasetError where it is broken.

    Six bits a character, five of them of the number, low ones first; from the fourth number on, each is given
    as the difference to the last but one. Source: `rleFrString` of pycocotools, whose own decoding warns
    under NumPy 2.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        six = ord(character) - 48
        if not 0 <= six < 64:
            raise DatasetError(f"{where}: its run lengths hold '{character}', which is none; export it anew")
        value |= (six & 31) << shift
        shift += 5
        if not six & 32:  # the number's last character; its top bit is the sign
            value -= (six & 16) << (shift - 4)
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise DatasetError(f"{where}: its run lengths end within a number; export it anew")
    return tuple(counts)


def fits(stated: Size, size: Size, where: str) -> None:
    """Raise DatasetError unless the size stated in an annotation file is that of the upright picture."""
    if stated != size:
        turned = " (it is turned by its EXIF: annotate it upright)" if stated == size[::-1] else ""
        raise DatasetError(
            f"{where}: annotated at {stated[1]} x {stated[0]} px, but the picture has "
            f"{size[1]} x {size[0]} px{turned}; annotate the picture as it is"
        )


def refuse_outside(points: Points, size: Size, where: str) -> None:
    """Raise DatasetError for a point (x, y) more than REACH_PX outside the picture, or not a number."""
    for x, y in points:
        if not (-REACH_PX <= x <= size[1] + REACH_PX and -REACH_PX <= y <= size[0] + REACH_PX):
            raise DatasetError(
                f"{where}: the point ({x:g}, {y:g}) lies outside the picture of {size[1]} x {size[0]} px"
            )

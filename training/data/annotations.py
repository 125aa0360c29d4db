"""Annotation types (run lengths, polygons, layers), drawn on demand; parsing of JSON annotations.

The service decodes an image upright, with its EXIF orientation applied; annotations must fit that size.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from pycocotools import mask as coco_mask
from pydantic import BaseModel, ConfigDict, ValidationError

from training.data.sample import (
    IGNORED,
    Annotation,
    Bits,
    DatasetError,
    Flags,
    Size,
    class_bit,
    ignored_alone,
)

REACH_PX = 1.0  # tolerance for points outside the image, because tools round coordinates
Points = tuple[tuple[float, float], ...]  # x, y in pixels


class Checked(BaseModel):
    """Base model for a part of a JSON annotation file; unknown keys are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


CheckedFile = TypeVar("CheckedFile", bound=Checked)


def read_checked(path: Path, model: type[CheckedFile]) -> CheckedFile:
    """Parse a file as `model`; raises DatasetError that names the first invalid field."""
    return parse_checked(path.read_bytes(), model, str(path))


def parse_checked(data: bytes, model: type[CheckedFile], where: str) -> CheckedFile:
    """Parse JSON as `model`, like `read_checked`; `where` names the source in errors."""
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        place = ".".join(map(str, wrong[0]["loc"])) or "as a whole"
        more = f" ({len(wrong)} such places)" if len(wrong) > 1 else ""
        raise DatasetError(f"{where}: {place}: {wrong[0]['msg']}{more}; export it anew") from error


class Part(Annotation, Protocol):
    """An annotation of one class."""

    @property
    def number(self) -> int:
        """The class number."""


@dataclass(frozen=True)
class RunLengths:
    """Run-length encoding of one class in column-major order: (start, length), top left pixel 0.

    `where` names the file and line in errors.
    """

    number: int
    runs: tuple[tuple[int, int], ...]
    where: str

    def draw(self, size: Size) -> Bits:
        """Return the class bits [H, W]; raises DatasetError for a run that ends beyond the image."""
        flat = np.zeros(size[0] * size[1], np.uint16)
        for start, length in self.runs:
            if start + length > flat.size:
                raise DatasetError(
                    f"{self.where}: the run '{start + 1} {length}' ends beyond the image, which has "
                    f"{size[1]} x {size[0]} = {flat.size} pixels"
                )
            flat[start : start + length] = class_bit(self.number)
        return flat.reshape(size, order="F")


@dataclass(frozen=True)
class CocoRuns:
    """COCO run-length encoding of one class, compressed text or numbers; `size` is (height, width)."""

    number: int
    size: Size
    counts: str | tuple[int, ...]
    where: str

    def draw(self, size: Size) -> Bits:
        """Return the class bits [H, W]; raises DatasetError for a wrong size or invalid runs."""
        fits(self.size, size, self.where)
        counts = uncompress(self.counts, self.where) if isinstance(self.counts, str) else self.counts
        if min(counts, default=0) < 0 or sum(counts) != size[0] * size[1]:
            raise DatasetError(
                f"{self.where}: its run lengths must be 0 or more and add up to {size[1]} x {size[0]}"
            )
        flags = np.repeat(np.arange(len(counts)) % 2 > 0, counts)  # runs alternate: outside, inside
        return bits_where(flags.reshape(size, order="F"), self.number)


@dataclass(frozen=True)
class Polygons:
    """One class as a union of polygons, each x1, y1, x2, y2, ... in pixels, rasterised as in COCO."""

    number: int
    rings: tuple[tuple[float, ...], ...]
    where: str

    def draw(self, size: Size) -> Bits:
        """Return the class bits [H, W]; raises DatasetError for a corner outside the image."""
        for ring in self.rings:
            refuse_outside(tuple(zip(ring[::2], ring[1::2], strict=True)), size, self.where)
        rings: Any = [list(ring) for ring in self.rings]  # the type stub allows only integers
        drawn = coco_mask.frPyObjects(rings, *size)
        merged: Any = coco_mask.merge(drawn)["counts"]
        return CocoRuns(self.number, size, merged.decode(), self.where).draw(size)


@dataclass(frozen=True)
class Layers:
    """Union of several annotations of one image; classes may overlap.

    `size` is the image's (height, width) in the annotation file, None if the file does not have it.
    """

    parts: tuple[Part, ...]
    size: Size | None
    where: str

    def numbers(self) -> list[int]:
        """Return the class numbers of the parts."""
        return sorted({part.number for part in self.parts} - {0})

    def draw(self, size: Size) -> Bits:
        """Return the class bits [H, W]; raises DatasetError if the image has a different size."""
        if self.size is not None:
            fits(self.size, size, self.where)
        bits = np.zeros(size, np.uint16)
        for part in self.parts:
            bits |= part.draw(size)
        return ignored_alone(bits) if (bits & IGNORED).any() else bits


def bits_where(flags: Flags, number: int) -> Bits:
    """Return class bits [H, W] with class `number` where `flags` [H, W] is True."""
    return np.where(flags, class_bit(number), np.uint16(0))


def uncompress(text: str, where: str) -> tuple[int, ...]:
    """Decode COCO's compressed run lengths; raises DatasetError if they are invalid.

    A character holds six bits: five bits of the number, low bits first, and a continuation bit. From the
    fourth number on, the difference to the number two places before is stored. Source: `rleFrString` of
    pycocotools, whose own decoder emits warnings under NumPy 2.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        six = ord(character) - 48
        if not 0 <= six < 64:
            raise DatasetError(f"{where}: its run lengths hold '{character}', which is none; export it anew")
        value |= (six & 31) << shift
        shift += 5
        if not six & 32:  # last character of a number; its highest data bit is the sign
            value -= (six & 16) << (shift - 4)
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise DatasetError(f"{where}: its run lengths end within a number; export it anew")
    return tuple(counts)


def fits(stated: Size, size: Size, where: str) -> None:
    """Raise DatasetError if the size in an annotation file differs from that of the upright image."""
    if stated != size:
        turned = " (it is turned by its EXIF: annotate it upright)" if stated == size[::-1] else ""
        raise DatasetError(
            f"{where}: annotated at {stated[1]} x {stated[0]} px, but the image has "
            f"{size[1]} x {size[0]} px{turned}; annotate the image as it is"
        )


def refuse_outside(points: Points, size: Size, where: str) -> None:
    """Raise DatasetError for a point (x, y) more than REACH_PX outside the image, or not a number."""
    for x, y in points:
        if not (-REACH_PX <= x <= size[1] + REACH_PX and -REACH_PX <= y <= size[0] + REACH_PX):
            raise DatasetError(
                f"{where}: the point ({x:g}, {y:g}) lies outside the image of {size[1]} x {size[0]} px"
            )

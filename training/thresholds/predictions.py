"""The answers of a bundle's graph for labelled images, in memory or cached in a folder."""

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.inspection.decoding.decode import DecodeLimits, decode
from app.inspection.inspector import Inspector
from app.inspection.results import TileProbability
from training.data.sample import DEFECTS, Bits, Flags, Sample, Size, counted, named
from training.files import written_whole


class Labelled(Protocol):
    """An image with its label, as needed to choose thresholds. `Sample` implements it."""

    @property
    def name(self) -> str:
        """The unique name of the image."""

    @property
    def group(self) -> str:
        """The part that the image shows."""

    @property
    def defective(self) -> bool:
        """Whether the image is labelled defective."""

    @property
    def ignores(self) -> bool:
        """Whether the reference has ignored pixels."""

    def class_bits(self, size: Size) -> Bits | None:
        """The reference's class bits, uint16 [H, W]; None if the defects are not marked."""


@dataclass(frozen=True, eq=False)
class Scored:
    """A labelled image and the answers of a graph that was not fitted on it.

    `tiles` are the head probabilities of the tiles. `planes` are the probability maps, or a file with them.
    Maps, pixels and class bits are read on demand, because those of a whole set may exceed the memory.
    """

    label: Labelled
    tiles: tuple[TileProbability, ...]
    planes: NDArray[np.uint8] | Path
    read: Callable[[], NDArray[np.uint8]]

    @property
    def defective(self) -> bool:
        """Whether the image is labelled defective."""
        return self.label.defective

    @property
    def group(self) -> str:
        """The part that the image shows."""
        return self.label.group

    @property
    def head_probability(self) -> float:
        """The highest head probability of the tiles."""
        return max(each.probability for each in self.tiles)

    @property
    def probability(self) -> NDArray[np.uint8]:
        """The probability maps, one for each class, uint8 [K, H, W]; 0 where pixels are ignored."""
        planes = _read_planes(self.planes) if isinstance(self.planes, Path) else self.planes
        return planes * self._counted(planes) if self.label.ignores else planes

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The decoded image, uint8 [H, W] or [H, W, 3]."""
        return self.read()

    @property
    def bits(self) -> Bits | None:
        """The reference's class bits, uint16 [H, W], 0 at ignored pixels; None if defects are not marked."""
        height, width = self.probability.shape[1:]
        bits = self.label.class_bits((height, width))
        return None if bits is None else bits & DEFECTS

    @property
    def counted(self) -> Flags:
        """The pixels that are not ignored, bool [H, W]."""
        return self._counted(_read_planes(self.planes) if isinstance(self.planes, Path) else self.planes)

    def _counted(self, planes: NDArray[np.uint8]) -> Flags:
        height, width = planes.shape[1:]
        bits = self.label.class_bits((height, width)) if self.label.ignores else None
        return np.ones((height, width), bool) if bits is None else counted(bits)


def score(inspector: Inspector, samples: Iterable[Sample], folder: Path | None = None) -> list[Scored]:
    """Run the bundle's graph over samples; raises DatasetError with the name of an image that is refused.

    With `folder`, the probability maps are cached there and not computed again.
    """
    return list(_scored(inspector, samples, folder))


def _scored(inspector: Inspector, samples: Iterable[Sample], folder: Path | None) -> Iterator[Scored]:
    for sample in samples:
        path = (
            None
            if folder is None
            else folder / f"{hashlib.sha256(sample.name.encode()).hexdigest()[:24]}.npz"
        )
        read = functools.partial(_pixels, sample, inspector.limits)
        if path is not None and path.is_file():
            yield Scored(sample, _read_tiles(path), path, read)
            continue
        with named(sample.name, sample.image):
            found = inspector.predict(read())
        if path is not None:
            _write(path, found.probability, found.tiles)
        yield Scored(sample, found.tiles, found.probability if path is None else path, read)


def _pixels(sample: Sample, limits: DecodeLimits) -> NDArray[np.uint8]:
    return decode(sample.image.read(), limits)


def _write(path: Path, planes: NDArray[np.uint8], tiles: Sequence[TileProbability]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    places = [[each.rows.start, each.rows.stop, each.columns.start, each.columns.stop] for each in tiles]
    heads = np.array([each.probability for each in tiles])
    with written_whole(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, planes=planes, places=np.array(places), heads=heads)


def _read_planes(path: Path) -> NDArray[np.uint8]:
    with np.load(path) as stored:
        return np.asarray(stored["planes"], np.uint8)


def _read_tiles(path: Path) -> tuple[TileProbability, ...]:
    with np.load(path) as stored:
        rows = zip(stored["places"].tolist(), stored["heads"].tolist(), strict=True)
        return tuple(
            TileProbability(slice(top, bottom), slice(left, right), head)
            for (top, bottom, left, right), head in rows
        )

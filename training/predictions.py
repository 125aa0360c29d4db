"""What a bundle's graph says of labelled images, in memory or kept in a folder."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.inspection.decode import DecodeLimits, decode
from app.inspection.inspector import Inspector
from app.inspection.results import TileProbability
from training.bundle_files import written_whole
from training.datasets.sample import Bits, Sample, named


@dataclass(frozen=True, eq=False)
class Scored:
    """A labelled image and the answers of a graph that was not fitted on it.

    Only `tiles`, the image-level answers, are always in memory: `probability` (uint8 [K, H, W]), `pixels`
    (uint8 [H, W] or [H, W, 3]) and `bits` (uint16 [H, W], None where defects are unmarked) are read when
    asked for, since all images of a set together may be larger than the memory.
    """

    sample: Sample
    tiles: tuple[TileProbability, ...]
    _planes: NDArray[np.uint8] | Path

    @property
    def defective(self) -> bool:
        """Whether the label says so."""
        return self.sample.defective

    @property
    def group(self) -> str:
        """The part that the image shows."""
        return self.sample.group

    @property
    def head_probability(self) -> float:
        """The highest image-level probability of the tiles."""
        return max(each.probability for each in self.tiles)

    @property
    def probability(self) -> NDArray[np.uint8]:
        """The probability maps, one for each class, uint8 [K, H, W]."""
        if isinstance(self._planes, Path):
            return _read_planes(self._planes)
        return self._planes

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The decoded image."""
        with named(self.sample.name, self.sample.image):
            return decode(self.sample.image.read(), DecodeLimits())

    @property
    def bits(self) -> Bits | None:
        """The reference's class bits."""
        return self.sample.class_bits(self.probability.shape[1:])


def score(inspector: Inspector, samples: Iterable[Sample], folder: Path | None = None) -> list[Scored]:
    """Run the bundle's graph over samples; raises DatasetError naming an image that is refused.

    With a folder the probability maps are kept there, and those already there are not computed again.
    """
    return list(_scored(inspector, samples, folder))


def _scored(inspector: Inspector, samples: Iterable[Sample], folder: Path | None) -> Iterator[Scored]:
    for sample in samples:
        path = (
            None
            if folder is None
            else folder / f"{hashlib.sha256(sample.name.encode()).hexdigest()[:24]}.npz"
        )
        if path is not None and path.is_file():
            yield Scored(sample, _read_tiles(path), path)
            continue
        with named(sample.name, sample.image):
            found = inspector.predict(decode(sample.image.read(), inspector.limits))
        if path is None:
            yield Scored(sample, found.tiles, found.probability)
        else:
            _write(path, found.probability, found.tiles)
            yield Scored(sample, found.tiles, path)


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

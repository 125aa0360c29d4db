"""Common interface of the image generators: images by seed, classes by name, exact masks."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.config import ConfigError, GeneratedConfig
from training.data.sample import MAX_CLASSES, Bits, Blob, MaskFile, Sample, Size, class_bit
from training.data.synthesis import tiles
from training.data.synthesis.defects import DEFECTS
from training.data.synthesis.generator import generate_surface

Grey = NDArray[np.uint8]


@dataclass(frozen=True)
class Generator:
    """Generates images for the classes of a set.

    `numbers` maps the generator's class names to class numbers of the set. `make` takes seed, class name
    and size (height, width), and returns grey uint8 [H, W] and a bool mask [H, W].
    """

    numbers: dict[str, int]
    make: Callable[[int, str | None, Size | None], tuple[Grey, NDArray[np.bool_]]]

    def picture(self, seed: int, defect_class: str | None, size: Size | None = None) -> tuple[Grey, Bits]:
        """Return grey uint8 [H, W] and class bits; `defect_class` is one of `numbers` or None."""
        pixels, mask = self.make(seed, defect_class, size)
        bit = class_bit(self.numbers[defect_class]) if defect_class else np.uint16(0)
        return pixels, np.where(mask, bit, np.uint16(0))


def classes_with_generated(classes: tuple[str, ...], config: GeneratedConfig | None) -> tuple[str, ...]:
    """The classes of the set, followed by those that only generated images have."""
    if config is None:
        return classes
    named = [config.classes.get(name, name) for name in _KINDS[config.kind][0]]
    return (*classes, *dict.fromkeys(name for name in named if name not in classes))


def make_generator(classes: tuple[str, ...], config: GeneratedConfig) -> Generator:
    """Create a stage's generator; `classes` as from `classes_with_generated`. Raises ConfigError."""
    known, make = _KINDS[config.kind]
    unknown = sorted(set(config.classes) - set(known))
    if unknown:
        raise ConfigError(f"generated.classes names {unknown[0]}; known are {', '.join(known)}")
    if len(classes) > MAX_CLASSES:
        raise ConfigError(
            f"with the generated ones there are {len(classes)} classes, at most {MAX_CLASSES} are possible; "
            "join some in generated.classes"
        )
    return Generator({name: classes.index(config.classes.get(name, name)) + 1 for name in known}, make)


def write_samples(generator: Generator, directory: Path, count: int, seed: int) -> list[Sample]:
    """Write `count` generated images as PNG, every second one defective; return them as samples."""
    directory.mkdir(parents=True)
    names, samples = tuple(generator.numbers), []
    for index in range(count):
        name = names[index // 2 % len(names)] if index % 2 else None
        pixels, bits = generator.picture(seed + index, name)
        image, mask = directory / f"{index}.png", directory / f"{index}.mask.png"
        cv2.imwrite(str(image), pixels)
        cv2.imwrite(str(mask), (bits > 0).astype(np.uint8) * 255)
        annotation = MaskFile(Blob(mask), generator.numbers[name]) if name else None
        samples.append(
            Sample(
                name=image.stem,
                group=image.stem,
                source="generated",
                picture_class=name or "good",
                defective=name is not None,
                image=Blob(image),
                annotation=annotation,
            )
        )
    return samples


def _tile(seed: int, defect_class: str | None, size: Size | None) -> tuple[Grey, NDArray[np.bool_]]:
    pixels, label_map = tiles.generate_tile(seed, defect_class, size)
    return pixels, label_map > 0


def _surface(seed: int, defect_class: str | None, size: Size | None) -> tuple[Grey, NDArray[np.bool_]]:
    pixels, bits = generate_surface(seed, defect_class, size=size or (256, 256))
    return pixels, bits > 0


_KINDS: dict[str, tuple[tuple[str, ...], Callable[..., tuple[Grey, NDArray[np.bool_]]]]] = {
    "tiles": (tiles.CLASSES, _tile),
    "surfaces": (DEFECTS, _surface),
}

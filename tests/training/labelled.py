"""Labelled images for the tiny bundle, which sees a dark rectangle on middle grey as a defect."""

from pathlib import Path

import numpy as np

from tests.tiny_bundle import png, tiny_picture
from training.data.sample import Blob, Dataset, MaskFile, Sample

Box = tuple[int, int, int, int]  # x, y, width, height


def labelled(
    directory: Path,
    name: str,
    dark: Box | None = None,
    marked: Box | None = None,
    size: tuple[int, int] = (96, 80),
) -> Sample:
    """An image with a dark box and a reference mask with a marked one, which makes it defective."""
    image, mask = directory / f"{name}.png", directory / f"{name}.mask.png"
    image.write_bytes(png(tiny_picture(*size, dark=dark)))
    kind = "good" if marked is None else "dark"
    if marked is None:
        return Sample(name, name, "made", kind, False, Blob(image))
    x, y, width, height = marked
    values = np.zeros(size, np.uint8)
    values[y : y + height, x : x + width] = 255
    mask.write_bytes(png(values))
    return Sample(name, name, "made", kind, True, Blob(image), MaskFile(Blob(mask), marked_class=1))


def tiny_dataset(directory: Path) -> Dataset:
    """One defect found, one escaped; one good image passed, one with a false alarm."""
    samples = [
        labelled(directory, "found", (20, 30, 20, 10), (20, 30, 20, 10)),
        labelled(directory, "escaped", None, (5, 5, 12, 12)),
        labelled(directory, "passed"),
        labelled(directory, "alarm", (40, 40, 8, 8)),
    ]
    return Dataset(("dark", "bright"), samples)

"""Reader of the magnetic-tile layout: `MT_CLASS/Imgs/NAME.jpg` (or .jpeg) with the mask in `NAME.png`.

Source: Huang et al., Surface defect saliency of magnetic tile, The Visual Computer 2020. The same tile
was photographed up to six times; `groups.csv` (columns `file`, `group`) groups the images of one tile.
An optional column `source` names the origin of an image for the model card.
"""

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2

from training.data.classes import AS_WRITTEN, GOOD, Classes, classes_of
from training.data.groups import Groups, read_groups
from training.data.sample import IGNORED_NUMBER, Blob, Dataset, DatasetError, MaskFile, Sample
from training.data.synthesis.tiles import CLASSES, generated_tiles
from training.labels import LabelsConfig

_FOLDERS = {f"MT_{name.capitalize()}": name for name in CLASSES} | {"MT_Free": GOOD}
_SUFFIXES = (".jpg", ".jpeg")


def is_magnetic_tile(root: Path) -> bool:
    """Whether a folder has this layout."""
    return any((root / folder).is_dir() for folder in _FOLDERS)


def read_magnetic_tile(root: Path, labels: LabelsConfig = AS_WRITTEN) -> Dataset:
    """Return every image below `root`, sorted by class and name.

    Raises DatasetError if the layout, a mask or the group of an image is missing, and for an unknown
    file or folder, so that no data is dropped silently.
    """
    _check_folders(root)
    groups = read_groups(root, labels, "magnetic-tile", required=True)
    classes = classes_of(CLASSES, labels)
    samples = [
        _sample(groups, classes, image, picture_class)
        for folder, picture_class in _FOLDERS.items()
        for image in _pictures(root / folder)
    ]
    return groups.dataset(classes.names, samples, "MT_CLASS/Imgs/NAME.jpg")


def write_generated(root: Path, count: int, seed: int) -> None:
    """Write `count` generated tiles, half of them defective, in this layout; each is its own group.

    Raises DatasetError if `root` already holds a groups.csv, which would be overwritten.
    """
    if (root / "groups.csv").exists():
        raise DatasetError(f"{root} holds a groups.csv already; give a new folder, or remove that one first")
    rows = []
    for number, (pixels, label_map) in enumerate(generated_tiles(count, seed)):
        defective = bool(label_map.any())
        folder = (
            root / f"MT_{CLASSES[int(label_map.max()) - 1].capitalize() if defective else 'Free'}" / "Imgs"
        )
        folder.mkdir(parents=True, exist_ok=True)
        image = folder / f"generated_{seed}_{number}.jpg"
        cv2.imwrite(str(image), pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
        cv2.imwrite(str(image.with_suffix(".png")), (label_map > 0).astype("uint8") * 255)
        rows.append((image.relative_to(root).as_posix(), f"g{seed}-{number}", "generated"))
    with (root / "groups.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "group", "source"), *sorted(rows)])


def _check_folders(root: Path) -> None:
    if not is_magnetic_tile(root):
        raise DatasetError(f"{root} holds none of {', '.join(_FOLDERS)}; give the folder that holds them")
    for folder in sorted(root.iterdir()):
        if not folder.is_dir() or not folder.name.upper().startswith("MT_"):
            continue
        if folder.name not in _FOLDERS:
            raise DatasetError(f"{folder} is of no known class; known folders: {', '.join(_FOLDERS)}")
        if not (folder / "Imgs").is_dir():
            raise DatasetError(f"{folder} has no folder Imgs; put its images and masks there")


def _pictures(folder: Path) -> Iterator[Path]:
    """Yield the images of one class by name; raises DatasetError for a file that is no image or mask."""
    files = sorted((folder / "Imgs").glob("*"))
    stems = {file.stem for file in files if file.suffix.lower() in _SUFFIXES}
    for file in files:
        if file.suffix.lower() in _SUFFIXES:
            yield file
        elif file.suffix == ".png":
            if file.stem not in stems:
                raise DatasetError(
                    f"{file} is a mask without an image; {file.stem}.jpg is expected beside it"
                )
        elif not file.name.startswith((".", "README")):
            raise DatasetError(f"{file} is neither an image (.jpg, .jpeg) nor a mask (.png); move it away")


def _sample(groups: Groups, classes: Classes, image: Path, picture_class: str) -> Sample:
    mask = image.with_suffix(".png")
    if picture_class == GOOD:  # an optional mask should be empty; the audit reports others
        return groups.sample(Blob(image), GOOD, MaskFile(Blob(mask), 1) if mask.is_file() else None)
    if not mask.is_file():
        raise DatasetError(f"{image} has no mask; {mask.name} is expected beside it")
    number = classes.number(picture_class)
    sample = groups.sample(Blob(image), classes.label([number]), MaskFile(Blob(mask), number))
    return replace(sample, ignores=number == IGNORED_NUMBER)

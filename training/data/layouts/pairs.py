"""Reader of paired folders: `images/NAME.*` with `masks/NAME.png`, at the root or below train, val, test.

A mask of one class, called `defect`, marks it by 255 or by 1. For several, `classes.txt` at the root names
them, one a line, and the masks hold their numbers: 1 for the first line, 0 for no defect. A mask of nothing
else than 0 makes its picture a good one.
"""

from collections.abc import Iterator
from pathlib import Path

from training.data.annotations import MarkedMask, NumberedMask
from training.data.groups import Groups, read_groups
from training.data.listing import PARTS, masks, pictures, refuse_others, refuse_strays
from training.data.sample import Blob, Dataset, DatasetError, Published, Sample

IMAGES, MASKS, CLASSES = "images", "masks", "classes.txt"
SINGLE = ("defect",)


def is_pairs(root: Path) -> bool:
    """Whether a folder shows this layout."""
    return bool(_parts(root))


def read_pairs(root: Path) -> Dataset:
    """Return every picture, which decodes all masks.

    Raises DatasetError for a picture without a mask, a mask without a picture, and any other file or folder.
    """
    parts = _parts(root)
    at_root = any(folder == root for folder, _ in parts)
    if at_root and len(parts) > 1:
        raise DatasetError(f"{root} holds {IMAGES} itself and in {parts[1][0].name}; keep one of both ways")
    refuse_others(root, (IMAGES, MASKS) if at_root else [folder.name for folder, _ in parts])
    groups = read_groups(root, root.resolve().name)
    classes = _classes(root / CLASSES)
    samples = [sample for folder, split in parts for sample in _read_part(groups, folder, classes, split)]
    return groups.dataset(classes or SINGLE, samples, f"{IMAGES}/NAME.jpg")


def _parts(root: Path) -> list[tuple[Path, Published | None]]:
    """The folders that hold images and masks, and the part each is; the root first."""
    below: list[tuple[Path, Published | None]] = [(root / name, part) for name, part in PARTS.items()]
    both = [(root, None), *below]
    return [(path, part) for path, part in both if (path / IMAGES).is_dir() and (path / MASKS).is_dir()]


def _classes(path: Path) -> list[str]:
    """The class names of classes.txt, none without that file."""
    if not path.is_file():
        return []
    names = [line.strip() for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines()]
    names = [name for name in names if name]
    if not names:
        raise DatasetError(f"{path} must name each defect class, one a line")
    return names


def _read_part(groups: Groups, folder: Path, classes: list[str], split: Published | None) -> Iterator[Sample]:
    refuse_others(folder, (IMAGES, MASKS, *PARTS) if folder == groups.root else (IMAGES, MASKS))
    images, drawn = pictures(folder / IMAGES), masks(folder / MASKS)
    strays = [mask for stem, mask in drawn.items() if stem not in images]
    refuse_strays(strays, (), f"is a mask without a picture; the same stem is expected in {folder / IMAGES}")
    for stem, image in images.items():
        if stem not in drawn:
            raise DatasetError(
                f"{image} has no mask; {folder / MASKS / stem}.png is expected, black if the picture is good"
            )
        blob = Blob(drawn[stem])
        mask = NumberedMask(blob, len(classes)) if classes else MarkedMask(blob)
        yield groups.masked(Blob(image), mask, classes or SINGLE, split)

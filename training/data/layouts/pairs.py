"""Reader of paired folders: `images/NAME.*` with `masks/NAME.png`, at the root or below train, val, test.

With a single class, called `defect`, masks mark it by 255 or 1. For several classes, `classes.txt` at
the root names them, one per line, and the masks hold class numbers: 1 for the first line, 0 for no
defect, 255 for ignored pixels. An image whose mask is all 0 is good.
"""

from pathlib import Path

from training.data.groups import read_groups
from training.data.listing import PARTS, mask_of, masks, pictures, refuse_others, refuse_strays
from training.data.masks import SINGLE, read_mask_set
from training.data.sample import Blob, Dataset, DatasetError, Faults, Published
from training.labels import LabelsConfig

IMAGES, MASKS = "images", "masks"


def is_pairs(root: Path) -> bool:
    """Whether a folder has this layout."""
    return bool(_parts(root))


def read_pairs(root: Path, labels: LabelsConfig) -> Dataset:
    """Return every image. Decodes all masks.

    Raises DatasetError for an image without a mask, a mask without an image, and any other file or folder.
    """
    parts = _parts(root)
    at_root = any(folder == root for folder, _ in parts)
    if at_root and len(parts) > 1:
        raise DatasetError(f"{root} holds {IMAGES} itself and in {parts[1][0].name}; keep one of both ways")
    refuse_others(root, (IMAGES, MASKS) if at_root else [folder.name for folder, _ in parts])
    groups = read_groups(root, labels)
    rows = [(image, mask, split) for folder, split in parts for image, mask in _pairs(root, folder)]
    drawn = read_mask_set(root, labels, [Blob(mask) for _, mask, _ in rows], SINGLE)
    samples = [
        groups.masked(Blob(image), drawn.image(Blob(mask), SINGLE[0]), drawn.classes, split)
        for image, mask, split in rows
    ]
    return groups.dataset(drawn.classes.names, samples, f"{IMAGES}/NAME.jpg", drawn.notes)


def _parts(root: Path) -> list[tuple[Path, Published | None]]:
    """The folders that hold images and masks, each with its published split; the root first."""
    below: list[tuple[Path, Published | None]] = [(root / name, part) for name, part in PARTS.items()]
    both = [(root, None), *below]
    return [(path, part) for path, part in both if (path / IMAGES).is_dir() and (path / MASKS).is_dir()]


def _pairs(root: Path, folder: Path) -> list[tuple[Path, Path]]:
    """The images of a folder and their masks."""
    refuse_others(folder, (IMAGES, MASKS, *PARTS) if folder == root else (IMAGES, MASKS))
    images = pictures(folder / IMAGES)
    drawn = mask_of(images, masks(folder / MASKS))
    refuse_strays(
        drawn.without_image,
        (),
        f"is a mask without an image; the same stem is expected in {folder / IMAGES}",
    )
    faults = Faults()
    for stem, image in images.items():
        if stem not in drawn.by_stem:
            faults.add(
                f"{image} has no mask; {folder / MASKS / stem}.png is expected, black if the image is good"
            )
    faults.refuse()
    return [(image, drawn.by_stem[stem]) for stem, image in images.items()]

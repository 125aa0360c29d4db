"""Reader of NEU-Seg: `images/{training,test}/N.jpg`, class numbers in `annotations/.../N.png`.

`validation` and `val` are read as well. `classes.txt` at the root names the classes, one per line. Many
sets have this layout, so it does not identify the source of a set or its class names. NEU-Seg itself
(github.com/DHW-Master/NEU_Seg) has the classes inclusion, patches and scratches. Most of its images
occur several times, flipped or rotated, also across its two splits: list such copies as groups in
groups.csv.
"""

from pathlib import Path

from training.data.groups import read_groups
from training.data.listing import PARTS, mask_of, masks, pictures, refuse_others, refuse_strays
from training.data.masks import SINGLE, read_mask_set
from training.data.sample import Blob, Dataset, Faults
from training.labels import LabelsConfig

IMAGES, ANNOTATIONS = "images", "annotations"


def is_neu_seg(root: Path) -> bool:
    """Whether a folder has this layout."""
    return any((root / IMAGES / part).is_dir() and (root / ANNOTATIONS / part).is_dir() for part in PARTS)


def read_neu_seg(root: Path, labels: LabelsConfig) -> Dataset:
    """Return every image of all splits; an image whose mask is all 0 is good. Decodes all masks.

    Raises DatasetError for an image without a mask, a mask without an image, and an unknown class
    number.
    """
    refuse_others(root, (IMAGES, ANNOTATIONS))
    for folder in (IMAGES, ANNOTATIONS):
        refuse_others(root / folder, tuple(PARTS))
    groups = read_groups(root, labels)
    parts = [
        part for part in PARTS if any((root / folder / part).is_dir() for folder in (IMAGES, ANNOTATIONS))
    ]
    rows = [(image, mask, part) for part in parts for image, mask in _pairs(root, part)]
    drawn = read_mask_set(root, labels, [Blob(mask) for _, mask, _ in rows], SINGLE)
    samples = [
        groups.masked(Blob(image), drawn.image(Blob(mask), SINGLE[0]), drawn.classes, PARTS[part])
        for image, mask, part in rows
    ]
    return groups.dataset(drawn.classes.names, samples, f"{IMAGES}/training/NAME.jpg", drawn.notes)


def _pairs(root: Path, part: str) -> list[tuple[Path, Path]]:
    """The images of a split and their masks."""
    images = pictures(root / IMAGES / part)
    drawn = mask_of(images, masks(root / ANNOTATIONS / part))
    refuse_strays(drawn.without_image, (), "is a mask without an image; remove it")
    faults = Faults()
    for stem, image in images.items():
        if stem not in drawn.by_stem:
            faults.add(f"{image} has no mask; {root / ANNOTATIONS / part / stem}.png is expected")
    faults.refuse()
    return [(image, drawn.by_stem[stem]) for stem, image in images.items()]

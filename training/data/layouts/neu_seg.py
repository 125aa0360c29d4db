"""Reader of the NEU-Seg layout: `images/{training,test}/N.jpg`, class numbers in `annotations/.../N.png`.

Source: github.com/DHW-Master/NEU_Seg, hot-rolled steel of 200 x 200 px. Its publishers say nothing of which
pictures show one surface, and most come several times, flipped or turned, also across their own two parts:
put such groups into groups.csv.
"""

from collections.abc import Iterator
from pathlib import Path

from training.data.annotations import NumberedMask
from training.data.groups import Groups, read_groups
from training.data.listing import PARTS, masks, pictures, refuse_others, refuse_strays
from training.data.sample import Blob, Dataset, DatasetError, Sample

CLASSES = ("inclusion", "patches", "scratches")
IMAGES, ANNOTATIONS = "images", "annotations"
FOLDERS = ("training", "test")


def is_neu_seg(root: Path) -> bool:
    """Whether a folder shows this layout."""
    return any((root / IMAGES / part).is_dir() and (root / ANNOTATIONS / part).is_dir() for part in FOLDERS)


def read_neu_seg(root: Path) -> Dataset:
    """Return every picture of both parts, which decodes all masks; one whose mask is 0 all over is good.

    Raises DatasetError for a picture without a mask, a mask without a picture, and a number that is no class.
    """
    refuse_others(root, (IMAGES, ANNOTATIONS))
    for folder in (IMAGES, ANNOTATIONS):
        refuse_others(root / folder, FOLDERS)
    groups = read_groups(root, "NEU_Seg")
    parts = [
        part for part in FOLDERS if any((root / folder / part).is_dir() for folder in (IMAGES, ANNOTATIONS))
    ]
    samples = [sample for part in parts for sample in _read_part(groups, part)]
    return groups.dataset(CLASSES, samples, f"{IMAGES}/{FOLDERS[0]}/NAME.jpg")


def _read_part(groups: Groups, part: str) -> Iterator[Sample]:
    images = pictures(groups.root / IMAGES / part)
    drawn = masks(groups.root / ANNOTATIONS / part)
    refuse_strays(
        [mask for stem, mask in drawn.items() if stem not in images],
        (),
        "is a mask without a picture; remove it",
    )
    for stem, image in images.items():
        if stem not in drawn:
            raise DatasetError(
                f"{image} has no mask; {groups.root / ANNOTATIONS / part / stem}.png is expected"
            )
        mask = NumberedMask(Blob(drawn[stem]), len(CLASSES))
        yield groups.masked(Blob(image), mask, CLASSES, PARTS[part])

"""Reader of a plain folder: `good/`, `defect/` or `defect/CLASS/`, and `masks/`, which mirrors `defect/`.

A mask has the path and the stem of its picture: `masks/CLASS/NAME.png` for `defect/CLASS/NAME.jpg`. A
defective picture without a mask is labelled as a picture only: no pixel of it is known.
"""

from pathlib import Path

from training.data.annotations import MarkedMask
from training.data.groups import GOOD, Groups, read_groups
from training.data.listing import listed, masks, pictures, refuse_others, refuse_strays
from training.data.sample import Blob, Dataset, DatasetError, Sample

DEFECT, MASKS = "defect", "masks"


def is_folder(root: Path) -> bool:
    """Whether a folder shows this layout."""
    return (root / GOOD).is_dir() or (root / DEFECT).is_dir()


def read_folder(root: Path) -> Dataset:
    """Return every picture; raises DatasetError for a mask without a picture and any other file or folder."""
    refuse_others(root, (GOOD, DEFECT, MASKS))
    groups = read_groups(root, root.resolve().name)
    classes = _classes(root)
    samples = []
    if (root / GOOD).is_dir():
        samples = [groups.sample(Blob(image), GOOD) for image in pictures(root / GOOD).values()]
    for number, name in enumerate(classes, start=1):
        below = name if (root / DEFECT / name).is_dir() else ""
        samples.extend(_read_class(groups, below, name, number))
    return groups.dataset(classes, samples, f"{GOOD}/NAME.jpg and {DEFECT}/NAME.jpg")


def _classes(root: Path) -> list[str]:
    """The folders in `defect`, or that folder itself; where `masks` has no others."""
    if not (root / DEFECT).is_dir():
        raise DatasetError(f"{root / DEFECT} is missing; put defective pictures there")
    inside = listed(root / DEFECT)
    folders = [path.name for path in inside if path.is_dir()]
    if folders and len(folders) < len(inside):
        stray = next(path for path in inside if not path.is_dir())
        raise DatasetError(f"{stray} lies beside the class folders {', '.join(folders)}; move it into one")
    if (root / MASKS).is_dir():
        mask_folders = [path for path in listed(root / MASKS) if path.is_dir() or folders]
        known = [root / MASKS / name for name in folders]
        refuse_strays(mask_folders, known, f"mirrors no folder in {root / DEFECT}; lay out both alike")
    return folders or [DEFECT]


def _read_class(groups: Groups, below: str, name: str, number: int) -> list[Sample]:
    folder, mask_folder = groups.root / DEFECT / below, groups.root / MASKS / below
    images = pictures(folder)
    drawn = masks(mask_folder) if mask_folder.is_dir() else {}
    strays = [mask for stem, mask in drawn.items() if stem not in images]
    refuse_strays(strays, (), f"is a mask without a picture; the same stem is expected in {folder}")
    return [
        groups.sample(Blob(image), name, MarkedMask(Blob(drawn[stem]), number) if stem in drawn else None)
        for stem, image in images.items()
    ]

"""Reader of one category in the MVTec AD layout: `train/good`, `test/{good,DEFECT}`, masks in `ground_truth`.

Source: Bergmann et al., The MVTec Anomaly Detection Dataset, International Journal of Computer Vision
2021. A defective image `test/DEFECT/NNN.png` has its mask in `ground_truth/DEFECT/NNN_mask.png` or
`NNN.png`; the folders DEFECT name the classes. Good images may be in `ok`, as in BTAD. Many sets have
this layout, so it does not identify the source of a set.
"""

from pathlib import Path

from training.data.classes import GOOD
from training.data.groups import read_groups
from training.data.listing import (
    GOOD_FOLDERS,
    folder_called,
    listed,
    mask_of,
    masks,
    pictures,
    refuse_others,
    refuse_strays,
)
from training.data.masks import read_mask_set
from training.data.sample import Blob, Dataset, DatasetError, Faults
from training.labels import LabelsConfig

TRUTH = "ground_truth"


def is_mvtec(root: Path) -> bool:
    """Whether a folder has this layout, or holds category folders that have it."""
    return _is_category(root) or bool(_categories(root))


def read_mvtec(root: Path, labels: LabelsConfig) -> Dataset:
    """Return every image of one category.

    Raises DatasetError for a defective image without a mask, a mask without an image, any other file, and
    for the parent folder of several categories, because each category is a different product.
    """
    if not _is_category(root):
        inside = ", ".join(path.name for path in _categories(root))
        raise DatasetError(
            f"{root} holds no train/good; give one category, such as {root.name}/NAME: {inside}"
        )
    refuse_others(root, ("train", "test", TRUTH))
    trained = folder_called(root / "train", GOOD_FOLDERS)
    assert trained is not None
    refuse_others(root / "train", (trained.name,))
    folders = listed(root / "test")
    refuse_strays(
        [path for path in folders if not path.is_dir()], (), "lies in no folder; move it into its own"
    )
    names = [folder.name for folder in folders if folder.name.lower() not in GOOD_FOLDERS]
    if (root / TRUTH).is_dir():
        refuse_others(root / TRUTH, names)
    rows = [(image, mask, folder.name) for folder in folders for image, mask in _tested(root, folder)]
    groups = read_groups(root, labels)
    drawn = read_mask_set(root, labels, [Blob(mask) for _, mask, _ in rows if mask], names)
    samples = [groups.sample(Blob(image), GOOD, split="train") for image in pictures(trained).values()]
    samples += [
        groups.in_folder(image, name if mask else GOOD, mask, drawn, "test") for image, mask, name in rows
    ]
    return groups.dataset(drawn.classes.names, samples, "train/good/NNN.png", drawn.notes)


def _is_category(root: Path) -> bool:
    return folder_called(root / "train", GOOD_FOLDERS) is not None and (root / "test").is_dir()


def _categories(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and _is_category(path))


def _tested(root: Path, folder: Path) -> list[tuple[Path, Path | None]]:
    """The images of one folder of `test` and their masks, None for good images."""
    images = pictures(folder)
    if folder.name.lower() in GOOD_FOLDERS:
        return [(image, None) for image in images.values()]
    drawn = mask_of(images, masks(root / TRUTH / folder.name))
    refuse_strays(
        drawn.without_image,
        (),
        f"is a mask without an image; {folder.name}/NNN.png and NNN_mask.png belong together",
    )
    faults = Faults()
    for stem, image in images.items():
        if stem not in drawn.by_stem:
            faults.add(f"{image} has no mask; {TRUTH}/{folder.name}/{stem}_mask.png is expected")
    faults.refuse()
    return [(image, drawn.by_stem[stem]) for stem, image in images.items()]

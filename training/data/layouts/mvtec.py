"""Reader of one category in the MVTec AD layout: `train/good`, `test/{good,DEFECT}`, masks in `ground_truth`.

Source: Bergmann et al., The MVTec Anomaly Detection Dataset, International Journal of Computer Vision 2021. A
defective picture `test/DEFECT/NNN.png` has its mask in `ground_truth/DEFECT/NNN_mask.png`; the folders DEFECT
name the classes.
"""

from pathlib import Path

from training.data.annotations import MarkedMask
from training.data.groups import GOOD, Groups, read_groups
from training.data.listing import listed, masks, pictures, refuse_others, refuse_strays
from training.data.sample import Blob, Dataset, DatasetError, Sample

TRUTH = "ground_truth"


def is_mvtec(root: Path) -> bool:
    """Whether a folder shows this layout, or holds folders that do."""
    return _is_category(root) or bool(_categories(root))


def read_mvtec(root: Path) -> Dataset:
    """Return every picture of one category.

    Raises DatasetError for a defective picture without a mask, a mask without a picture, any other file, and
    for the folder of all categories: they are products of their own.
    """
    if not _is_category(root):
        names = ", ".join(path.name for path in _categories(root))
        raise DatasetError(
            f"{root} holds no train/good; give one category, such as {root.name}/NAME: {names}"
        )
    refuse_others(root, ("train", "test", TRUTH))
    refuse_others(root / "train", (GOOD,))
    groups = read_groups(root, "MVTec AD")
    folders = listed(root / "test")
    refuse_strays(
        [path for path in folders if not path.is_dir()], (), "lies in no folder; move it into its own"
    )
    classes = [folder.name for folder in folders if folder.name != GOOD]
    if (root / TRUTH).is_dir():
        refuse_others(root / TRUTH, classes)
    samples = [
        groups.sample(Blob(image), GOOD, split="train") for image in pictures(root / "train" / GOOD).values()
    ]
    for folder in folders:
        samples.extend(_read_test(groups, folder, classes))
    return groups.dataset(classes, samples, "train/good/NNN.png")


def _is_category(root: Path) -> bool:
    return (root / "train" / GOOD).is_dir() and (root / "test").is_dir()


def _categories(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and _is_category(path))


def _read_test(groups: Groups, folder: Path, classes: list[str]) -> list[Sample]:
    images = pictures(folder)
    if folder.name == GOOD:
        return [groups.sample(Blob(image), GOOD, split="test") for image in images.values()]
    drawn = masks(groups.root / TRUTH / folder.name)
    refuse_strays(
        [mask for stem, mask in drawn.items() if stem.removesuffix("_mask") not in images or stem in images],
        (),
        f"is a mask without a picture; {folder.name}/NNN.png and NNN_mask.png belong together",
    )
    number = classes.index(folder.name) + 1
    samples = []
    for stem, image in images.items():
        if f"{stem}_mask" not in drawn:
            raise DatasetError(f"{image} has no mask; {TRUTH}/{folder.name}/{stem}_mask.png is expected")
        mask = MarkedMask(Blob(drawn[f"{stem}_mask"]), number)
        samples.append(groups.sample(Blob(image), folder.name, mask, "test"))
    return samples

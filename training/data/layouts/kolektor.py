"""Readers of KolektorSDD and KolektorSDD2, which have one defect class.

KolektorSDD: `kosNN/PartN.jpg` with `PartN_label.bmp`; the parts of one commutator kosNN are a group. Source:
Tabernik et al., Segmentation-based deep-learning approach for surface-defect detection, Journal of
Intelligent Manufacturing 2020. KolektorSDD2: `{train,test}/NNNNN.png` with `NNNNN_GT.png`. Source: Božič et
al., Mixed supervision for surface-defect detection, Computers in Industry 2021.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from training.data.groups import read_groups
from training.data.listing import PARTS, listed, refuse_others, refuse_strays
from training.data.masks import read_mask_set
from training.data.sample import Blob, Dataset, DatasetError, Published
from training.labels import LabelsConfig

CLASSES = ("defect",)
_COMMUTATOR = re.compile(r"kos\d+")
_PARTS = ("train", "test")
_Row = tuple[Path, Path, Published | None, str | None]  # image, mask, published split, group


def is_kolektor_sdd(root: Path) -> bool:
    """Whether a folder has the layout of KolektorSDD."""
    return bool(_commutators(root))


def is_kolektor_sdd2(root: Path) -> bool:
    """Whether a folder has the layout of KolektorSDD2."""
    return any(next((root / part).glob("*_GT.png"), None) for part in _PARTS)


def read_kolektor_sdd(root: Path, labels: LabelsConfig) -> Dataset:
    """Return every image; an image with an empty mask is good. Decodes all masks.

    Raises DatasetError for an image without a mask, a mask without an image, and any other file.
    """
    commutators = _commutators(root)
    refuse_others(root, [folder.name for folder in commutators])
    rows = [
        (image, mask, None, folder.name)
        for folder in commutators
        for image, mask in _pairs(folder, ".jpg", "_label.bmp")
    ]
    return _read(root, labels, rows, "kosNN/PartN.jpg")


def read_kolektor_sdd2(root: Path, labels: LabelsConfig) -> Dataset:
    """Return every image of both splits, like `read_kolektor_sdd`; each image is its own group."""
    refuse_others(root, _PARTS)
    rows = [
        (image, mask, PARTS[part], None)
        for part in _PARTS
        if (root / part).is_dir()
        for image, mask in _pairs(root / part, ".png", "_GT.png")
    ]
    return _read(root, labels, rows, "train/NNNNN.png")


def _read(root: Path, labels: LabelsConfig, rows: Sequence[_Row], expected: str) -> Dataset:
    groups = read_groups(root, labels)
    drawn = read_mask_set(root, labels, [Blob(mask) for _, mask, *_ in rows], CLASSES)
    samples = [
        groups.masked(Blob(image), drawn.image(Blob(mask), CLASSES[0]), drawn.classes, split, group)
        for image, mask, split, group in rows
    ]
    return groups.dataset(drawn.classes.names, samples, expected, drawn.notes)


def _commutators(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and _COMMUTATOR.fullmatch(path.name))


def _pairs(folder: Path, ending: str, mask_ending: str) -> Iterator[tuple[Path, Path]]:
    """Yield each image NAME+ending of a folder with its mask NAME+mask_ending."""
    files = {path.name: path for path in listed(folder)}
    drawn = {
        name.removesuffix(mask_ending): path for name, path in files.items() if name.endswith(mask_ending)
    }
    rest = {name: path for name, path in files.items() if not name.endswith(mask_ending)}
    images = {name.removesuffix(ending): path for name, path in rest.items() if name.endswith(ending)}
    refuse_strays(
        rest.values(),
        images.values(),
        f"is neither an image (*{ending}) nor a mask (*{mask_ending}); move it away",
    )
    refuse_strays(
        [path for name, path in drawn.items() if name not in images],
        (),
        f"is a mask without an image; the same name with {ending} is expected beside it",
    )
    for name, image in images.items():
        if name not in drawn:
            raise DatasetError(f"{image} has no mask; {name}{mask_ending} is expected beside it")
        yield image, drawn[name]

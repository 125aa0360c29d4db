"""Readers of the Kolektor commutator sets, of one defect class.

KolektorSDD: `kosNN/PartN.jpg` with `PartN_label.bmp`; the parts of one commutator kosNN are a group. Source:
Tabernik et al., Segmentation-based deep-learning approach for surface-defect detection, Journal of
Intelligent Manufacturing 2020. KolektorSDD2: `{train,test}/NNNNN.png` with `NNNNN_GT.png`. Source: Božič et
al., Mixed supervision for surface-defect detection, Computers in Industry 2021.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from training.data.annotations import MarkedMask
from training.data.groups import Groups, read_groups
from training.data.listing import PARTS, listed, refuse_others, refuse_strays
from training.data.sample import Blob, Dataset, DatasetError, Published, Sample

CLASSES = ("defect",)
_COMMUTATOR = re.compile(r"kos\d+")
_PARTS = ("train", "test")


def is_kolektor_sdd(root: Path) -> bool:
    """Whether a folder shows the layout of KolektorSDD."""
    return bool(_commutators(root))


def is_kolektor_sdd2(root: Path) -> bool:
    """Whether a folder shows the layout of KolektorSDD2."""
    return any(next((root / part).glob("*_GT.png"), None) for part in _PARTS)


def read_kolektor_sdd(root: Path) -> Dataset:
    """Return every picture, which decodes all masks: a picture whose mask marks nothing is good.

    Raises DatasetError for a picture without a mask, a mask without a picture, and any other file.
    """
    commutators = _commutators(root)
    refuse_others(root, [folder.name for folder in commutators])
    groups = read_groups(root, "KolektorSDD")
    samples = [
        groups.masked(Blob(image), mask, CLASSES, group=folder.name)
        for folder in commutators
        for image, mask in _pairs(folder, ".jpg", "_label.bmp")
    ]
    return groups.dataset(CLASSES, samples, "kosNN/PartN.jpg")


def read_kolektor_sdd2(root: Path) -> Dataset:
    """Return every picture of both parts, like `read_kolektor_sdd`; each picture is its own group."""
    refuse_others(root, _PARTS)
    groups = read_groups(root, "KolektorSDD2")
    parts = [part for part in _PARTS if (root / part).is_dir()]
    samples = [sample for part in parts for sample in _read_part(groups, part, PARTS[part])]
    return groups.dataset(CLASSES, samples, "train/NNNNN.png")


def _commutators(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and _COMMUTATOR.fullmatch(path.name))


def _read_part(groups: Groups, part: str, split: Published) -> Iterator[Sample]:
    for image, mask in _pairs(groups.root / part, ".png", "_GT.png"):
        yield groups.masked(Blob(image), mask, CLASSES, split)


def _pairs(folder: Path, ending: str, mask_ending: str) -> Iterator[tuple[Path, MarkedMask]]:
    """Yield each picture NAME+ending of a folder with its mask NAME+mask_ending."""
    files = {path.name: path for path in listed(folder)}
    drawn = {
        name.removesuffix(mask_ending): path for name, path in files.items() if name.endswith(mask_ending)
    }
    rest = {name: path for name, path in files.items() if not name.endswith(mask_ending)}
    images = {name.removesuffix(ending): path for name, path in rest.items() if name.endswith(ending)}
    refuse_strays(
        rest.values(),
        images.values(),
        f"is neither a picture (*{ending}) nor a mask (*{mask_ending}); move it away",
    )
    refuse_strays(
        [path for name, path in drawn.items() if name not in images],
        (),
        f"is a mask without a picture; the same name with {ending} is expected beside it",
    )
    for name, image in images.items():
        if name not in drawn:
            raise DatasetError(f"{image} has no mask; {name}{mask_ending} is expected beside it")
        yield image, MarkedMask(Blob(drawn[name]))

"""Reader of a plain folder: `good/`, `defect/` or `defect/CLASS/`, and `masks/`, which mirrors `defect/`.

A mask has the path and the stem of its image: `masks/CLASS/NAME.png` for `defect/CLASS/NAME.jpg`; a
suffix such as `_mask` may follow the stem. A defective image without a mask has an image-level label
only. Other common folder names are read too, in upper or lower case: `OK` and `NG`, `normal`, `abnormal`
and `mask`. Masks of good images are used by the audit only.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from training.data.classes import AS_WRITTEN, GOOD
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
    same_name,
)
from training.data.masks import SINGLE, read_mask_set
from training.data.sample import Blob, Dataset, DatasetError
from training.labels import LabelsConfig

DEFECT_FOLDERS = ("defect", "defects", "defective", "ng", "nok", "bad", "abnormal", "anomaly")
MASK_FOLDERS = ("masks", "mask", "ground_truth")


class _Row(NamedTuple):
    image: Path
    name: str
    mask: Path | None


class _Folders(NamedTuple):
    """The folders of a set; None for one that it does not have."""

    good: Path | None
    defect: Path | None
    masks: Path | None


def is_folder(root: Path) -> bool:
    """Whether a folder has this layout."""
    names = (*GOOD_FOLDERS, *DEFECT_FOLDERS)
    return any(path.name.lower() in names and path.is_dir() for path in root.iterdir())


def read_folder(root: Path, labels: LabelsConfig = AS_WRITTEN) -> Dataset:
    """Return every image; raises DatasetError for a mask without an image or an unknown path."""
    folders = _folders(root)
    refuse_others(root, [path.name for path in folders if path] or (GOOD, "defect", "masks"))
    if folders.defect is None:
        raise DatasetError(f"{root / 'defect'} is missing; put defective images there")
    names = _classes(folders)
    goods = pictures(folders.good) if folders.good else {}
    rows: list[_Row] = []
    for name in names:
        rows += _read_class(folders, name, goods if names == SINGLE else {})
    rows = _good_rows(folders, goods, rows) + rows
    groups = read_groups(root, labels)
    drawn = read_mask_set(root, labels, [Blob(row.mask) for row in rows if row.mask], names)
    samples = [groups.in_folder(row.image, row.name, row.mask, drawn) for row in rows]
    return groups.dataset(drawn.classes.names, samples, f"{GOOD}/NAME.jpg and defect/NAME.jpg", drawn.notes)


def _folders(root: Path) -> _Folders:
    return _Folders(*(folder_called(root, names) for names in (GOOD_FOLDERS, DEFECT_FOLDERS, MASK_FOLDERS)))


def _classes(folders: _Folders) -> tuple[str, ...]:
    """The class folders in `defect`, or SINGLE; raises DatasetError if the mask folders do not match."""
    assert folders.defect is not None
    inside = listed(folders.defect)
    found = tuple(path.name for path in inside if path.is_dir())
    if found and len(found) < len(inside):
        stray = next(path for path in inside if not path.is_dir())
        raise DatasetError(f"{stray} lies beside the class folders {', '.join(found)}; move it into one")
    if folders.masks is not None:
        mask_folders = [path for path in listed(folders.masks) if path.is_dir() or found]
        known = [folders.masks / name for name in found]
        known += [path for path in mask_folders if path.is_dir() and path.name.lower() in GOOD_FOLDERS]
        refuse_strays(mask_folders, known, f"mirrors no folder in {folders.defect}; lay out both alike")
    return found or SINGLE


def _read_class(folders: _Folders, name: str, goods: Mapping[str, Path]) -> list[_Row]:
    """The images of one class with their masks; masks of `goods` may lie in the same folder."""
    assert folders.defect is not None
    below = name if (folders.defect / name).is_dir() else ""
    images, drawn = pictures(folders.defect / below), _masks(folders, below)
    matched = mask_of(images, drawn)
    strays = mask_of(goods, {same_name(mask.stem): mask for mask in matched.without_image}).without_image
    refuse_strays(
        strays, (), f"is a mask without an image; the same stem is expected in {folders.defect / below}"
    )
    return [_Row(image, name, matched.by_stem.get(stem)) for stem, image in images.items()]


def _good_rows(folders: _Folders, goods: Mapping[str, Path], rows: list[_Row]) -> list[_Row]:
    """The good images; their masks lie in their own folder, or beside those of the only class."""
    own = folder_called(folders.masks, GOOD_FOLDERS) if folders.masks else None
    if own is not None and own.name not in {row.name for row in rows}:
        matched = mask_of(goods, masks(own))
        refuse_strays(matched.without_image, (), f"is a mask without an image in {folders.good}")
    else:
        taken = {row.mask for row in rows}
        free = {stem: mask for stem, mask in _masks(folders, "").items() if mask not in taken}
        matched = mask_of(goods, free)
    return [_Row(image, GOOD, matched.by_stem.get(stem)) for stem, image in goods.items()]


def _masks(folders: _Folders, below: str) -> dict[str, Path]:
    """The masks in a folder; none if it holds class folders instead."""
    if folders.masks is None or not (folders.masks / below).is_dir():
        return {}
    inside = [path for path in listed(folders.masks / below) if path.is_dir()]
    return {} if inside else masks(folders.masks / below)

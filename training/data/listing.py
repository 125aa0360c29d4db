"""Lists the images and masks in the folders of a set, and reports all other files as errors."""

import os
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from training.data.sample import DatasetError, Faults, Published

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")  # no JPEG: it changes mask values at edges
MASK_ENDINGS = ("_mask", "-mask", ".mask", "_gt", "_label", "_seg")  # of a mask's stem, in any case
UNREAD_SUFFIXES = (".gif", ".heic", ".heif", ".avif", ".jp2", ".jfif", ".jxl", ".dng", ".raw")

# Folder and file names of the published splits.
PARTS: dict[str, Published] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
GOOD_FOLDERS = ("good", "ok", "normal")  # in upper or lower case; their images show no defect
# Files and folders added by authors, operating systems, editors and network drives.
_NO_DATA = ("readme", "license", "licence", "thumbs.db", "desktop.ini")
_NO_DATA_FOLDERS = ("__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information")


def listed(folder: Path) -> list[Path]:
    """Return the entries of a folder, sorted, without hidden files, READMEs and licences.

    Raises DatasetError if the folder is missing.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is missing; this layout needs that folder")
    return sorted(path for path in folder.iterdir() if not _is_no_data(path))


def walk(root: Path) -> Iterator[Path]:
    """Yield all files below a folder, sorted, like `listed`; follows links, each folder once."""
    entered: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        here = Path(folder)
        folders[:] = sorted(name for name in folders if not _is_no_data(here / name))
        yield from (here / name for name in sorted(files) if not _is_no_data(here / name))


def same_name(name: str) -> str:
    """A name in Unicode form NFC for comparison, because macOS decomposes accented letters."""
    return unicodedata.normalize("NFC", name)


def is_picture(path: Path) -> bool:
    """Whether a path is a file with the extension of a supported image format."""
    return path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()


def is_image_of_any_kind(path: Path) -> bool:
    """Whether a path is a file with an image extension, also of an unsupported format."""
    return path.suffix.lower() in (*PICTURE_SUFFIXES, *UNREAD_SUFFIXES) and path.is_file()


def pictures(folder: Path, suffixes: tuple[str, ...] = PICTURE_SUFFIXES) -> dict[str, Path]:
    """Return the images (or, by `suffixes`, masks) in a folder by their stems.

    Raises DatasetError for other files and folders, and for stems that occur twice.
    """
    found: dict[str, Path] = {}
    faults = Faults()
    for path in listed(folder):
        stem = same_name(path.stem)
        if path.suffix.lower() not in suffixes or not path.is_file():
            faults.add(f"{path} has no place there; {_fix(path, suffixes)}")
        elif stem in found:
            faults.add(f"{path} and {found[stem].name} have the same stem; rename or remove one")
        else:
            found[stem] = path
    faults.refuse()
    return found


def masks(folder: Path) -> dict[str, Path]:
    """Return the masks in a folder by their stems, like `pictures`."""
    return pictures(folder, MASK_SUFFIXES)


class Matched(NamedTuple):
    """Masks by the stem of their image, and the masks without an image."""

    by_stem: dict[str, Path]
    without_image: list[Path]


def mask_of(images: Collection[str], drawn: Mapping[str, Path]) -> Matched:
    """Match masks to images by stem; the mask's stem may end in one of MASK_ENDINGS.

    Raises DatasetError if an image has two masks.
    """
    matched = Matched({}, [])
    for stem, mask in drawn.items():
        owner = next((name for name in _owners(stem) if name in images), None)
        if owner is None:
            matched.without_image.append(mask)
        elif owner in matched.by_stem:
            raise DatasetError(f"{matched.by_stem[owner]} and {mask.name} are masks of one image; keep one")
        else:
            matched.by_stem[owner] = mask
    return matched


def _owners(stem: str) -> Iterator[str]:
    """The stems of the images that a mask may belong to."""
    yield stem
    lower = stem.lower()
    yield from (stem[: -len(ending)] for ending in MASK_ENDINGS if lower.endswith(ending))


def folder_called(parent: Path, names: Collection[str]) -> Path | None:
    """The folder with one of these names, in any case; None without one, DatasetError for several."""
    if not parent.is_dir():
        return None
    found = sorted(path for path in parent.iterdir() if path.name.lower() in names and path.is_dir())
    if len(found) > 1:
        raise DatasetError(f"{found[0]} and {found[1].name} mean the same; move all images into one")
    return found[0] if found else None


def refuse_strays(found: Iterable[Path], used: Collection[Path], fix: str) -> None:
    """Raise DatasetError for files that are not in `used`; `fix` says what is wrong with them."""
    strays = sorted(set(found) - set(used))
    if strays:
        more = f" ({len(strays)} such files)" if len(strays) > 1 else ""
        raise DatasetError(f"{strays[0]} {fix}{more}")


def refuse_others(folder: Path, known: Collection[str]) -> None:
    """Raise DatasetError for a subfolder or image in `folder` whose name is not in `known`."""
    for path in listed(folder):
        if path.name not in known and (path.is_dir() or is_image_of_any_kind(path)):
            raise DatasetError(
                f"{path} has no place in this layout; known are {', '.join(known)}: move it away"
            )


def _fix(path: Path, suffixes: tuple[str, ...]) -> str:
    """The remedy for a file of an unsupported type."""
    suffix = path.suffix.lower()
    what = f"only {', '.join(suffixes)} files do"
    if suffix in UNREAD_SUFFIXES:
        return f"{what}: convert it to PNG"
    if suffix in PICTURE_SUFFIXES and path.is_file():  # a JPEG among masks
        return f"{what}: JPEG changes the values of a mask, so export it anew as PNG"
    return f"{what}: move it away"


def _is_no_data(path: Path) -> bool:
    """Whether a path is hidden or a text about the set; an image or folder of such a name is data."""
    name = path.name.lower()
    if name.startswith(".") or name in _NO_DATA_FOLDERS:
        return True
    return name.startswith(_NO_DATA) and path.is_file() and not is_picture(path)

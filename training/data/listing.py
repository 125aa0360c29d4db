"""What lies in the folders of a set: pictures and masks, and nothing else without being named."""

from collections.abc import Collection, Iterable
from pathlib import Path

from training.data.sample import DatasetError, Published

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")  # JPEG would blur the edges of a mask

# How layouts call the part that their publishers put a picture in.
PARTS: dict[str, Published] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
_NO_DATA = ("readme", "license", "licence", "thumbs.db")  # what authors and operating systems add


def listed(folder: Path) -> list[Path]:
    """Return what a folder holds, by name, less hidden files, READMEs and licences.

    Raises DatasetError where there is no such folder.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is missing; this layout needs that folder")
    return sorted(path for path in folder.iterdir() if not _is_no_data(path))


def is_picture(path: Path) -> bool:
    """Whether a path is a file named like a picture."""
    return path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()


def pictures(folder: Path, suffixes: tuple[str, ...] = PICTURE_SUFFIXES) -> dict[str, Path]:
    """Return the pictures (or, by `suffixes`, masks) in a folder by their stems.

    Raises DatasetError for a folder or file among them that is none, and for a stem that occurs twice.
    """
    found: dict[str, Path] = {}
    for path in listed(folder):
        if path.suffix.lower() not in suffixes or not path.is_file():
            raise DatasetError(
                f"{path} has no place there; only {', '.join(suffixes)} files do: move it away"
            )
        if path.stem in found:
            raise DatasetError(f"{path} and {found[path.stem].name} have the same stem; rename or remove one")
        found[path.stem] = path
    return found


def masks(folder: Path) -> dict[str, Path]:
    """Return the masks in a folder by their stems, like `pictures`."""
    return pictures(folder, MASK_SUFFIXES)


def refuse_strays(found: Iterable[Path], used: Collection[Path], fix: str) -> None:
    """Raise DatasetError for the first file that is not among those in use; `fix` says what it lacks."""
    strays = sorted(set(found) - set(used))
    if strays:
        more = f" ({len(strays)} such files)" if len(strays) > 1 else ""
        raise DatasetError(f"{strays[0]} {fix}{more}")


def refuse_others(folder: Path, known: Collection[str]) -> None:
    """Raise DatasetError for a folder or a picture in `folder` whose name is not known to the layout."""
    for path in listed(folder):
        if path.name not in known and (path.is_dir() or is_picture(path)):
            raise DatasetError(
                f"{path} has no place in this layout; known are {', '.join(known)}: move it away"
            )


def _is_no_data(path: Path) -> bool:
    """Whether a path is hidden, or a text about the set; a picture or folder called so is data."""
    if path.name.startswith("."):
        return True
    return path.name.lower().startswith(_NO_DATA) and path.is_file() and not is_picture(path)

"""Reader of the magnetic-tile layout: `MT_CLASS/Imgs/NAME.jpg` (or .jpeg) with the mask in `NAME.png`.

Source: Huang et al., Surface defect saliency of magnetic tile, The Visual Computer 2020. The same tile
was photographed up to six times; `groups.csv` (columns `file`, `group`) joins the pictures of one tile. An
optional column `source` names where a picture is from, for the model card.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2

from training.datasets.generated import CLASSES, generated_tiles
from training.datasets.sample import Blob, DatasetError, Sample

_FOLDERS = {f"MT_{name.capitalize()}": name for name in CLASSES} | {"MT_Free": "good"}
_SUFFIXES = (".jpg", ".jpeg")


class _Origin(NamedTuple):
    group: str
    source: str


def read_magnetic_tile(root: Path) -> list[Sample]:
    """Return every picture below `root`, sorted by name.

    Raises DatasetError where the layout, a mask or the group of a picture is missing, and where a file or
    folder would be left out: nothing is dropped in silence.
    """
    _check_folders(root)
    groups = _read_groups(root / "groups.csv")
    samples = []
    for folder, picture_class in _FOLDERS.items():
        for image in _pictures(root / folder):
            name = image.relative_to(root).as_posix()
            if name not in groups:
                raise DatasetError(
                    f"{root / 'groups.csv'} names no group for {name}; add a line '{name},GROUP'"
                )
            samples.append(_sample(image, name, groups[name], picture_class))
    missing = sorted(set(groups) - {sample.name for sample in samples})
    if missing:
        raise DatasetError(
            f"{root / 'groups.csv'} names {missing[0]}, which is missing; copy it there or remove the line"
            + (f" ({len(missing)} such lines)" if len(missing) > 1 else "")
        )
    if not samples:
        raise DatasetError(f"{root} holds no pictures; they are expected as MT_CLASS/Imgs/NAME.jpg")
    return samples


def write_generated(root: Path, count: int, seed: int) -> None:
    """Write `count` generated tiles, half of them defective, in this layout; each is its own group.

    Raises DatasetError where `root` holds a set already: its groups.csv would lose its pictures.
    """
    if (root / "groups.csv").exists():
        raise DatasetError(f"{root} holds a groups.csv already; give a new folder, or remove that one first")
    rows = []
    for number, (pixels, label_map) in enumerate(generated_tiles(count, seed)):
        defective = bool(label_map.any())
        folder = (
            root / f"MT_{CLASSES[int(label_map.max()) - 1].capitalize() if defective else 'Free'}" / "Imgs"
        )
        folder.mkdir(parents=True, exist_ok=True)
        image = folder / f"generated_{seed}_{number}.jpg"
        cv2.imwrite(str(image), pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
        cv2.imwrite(str(image.with_suffix(".png")), (label_map > 0).astype("uint8") * 255)
        rows.append((image.relative_to(root).as_posix(), f"g{seed}-{number}", "generated"))
    with (root / "groups.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "group", "source"), *sorted(rows)])


def _check_folders(root: Path) -> None:
    if not any((root / folder).is_dir() for folder in _FOLDERS):
        raise DatasetError(f"{root} holds none of {', '.join(_FOLDERS)}; give the folder that holds them")
    for folder in sorted(root.iterdir()):
        if not folder.is_dir() or not folder.name.upper().startswith("MT_"):
            continue
        if folder.name not in _FOLDERS:
            raise DatasetError(f"{folder} is of no known class; known folders: {', '.join(_FOLDERS)}")
        if not (folder / "Imgs").is_dir():
            raise DatasetError(f"{folder} has no folder Imgs; put its pictures and masks there")


def _pictures(folder: Path) -> Iterator[Path]:
    """Yield the pictures of one class by name; refuse files that are neither picture nor mask."""
    files = sorted((folder / "Imgs").glob("*"))
    stems = {file.stem for file in files if file.suffix.lower() in _SUFFIXES}
    for file in files:
        if file.suffix.lower() in _SUFFIXES:
            yield file
        elif file.suffix == ".png":
            if file.stem not in stems:
                raise DatasetError(
                    f"{file} is a mask without a picture; {file.stem}.jpg is expected beside it"
                )
        elif not file.name.startswith((".", "README")):
            raise DatasetError(f"{file} is neither a picture (.jpg, .jpeg) nor a mask (.png); move it away")


def _sample(image: Path, name: str, origin: _Origin, picture_class: str) -> Sample:
    defective = picture_class != "good"
    mask = image.with_suffix(".png")
    if defective and not mask.is_file():
        raise DatasetError(f"{name} has no mask; {mask.name} is expected beside it")
    return Sample(
        name=name,
        group=origin.group,
        source=origin.source,
        picture_class=picture_class,
        defective=defective,
        image=Blob(image),
        mask=Blob(mask) if defective else None,
        mask_class=CLASSES.index(picture_class) + 1 if defective else None,
    )


def _read_groups(path: Path) -> dict[str, _Origin]:
    if not path.is_file():
        raise DatasetError(
            f"{path} is missing; without groups the pictures of one tile would leak across a split. "
            "Write a CSV with the columns file,group"
        )
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a byte order mark
            return _parse_groups(path, csv.DictReader(file))
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 ({error}); save it as UTF-8") from error


def _parse_groups(path: Path, rows: "csv.DictReader[str]") -> dict[str, _Origin]:
    if not {"file", "group"} <= set(rows.fieldnames or ()):
        raise DatasetError(f"{path} must have the columns file,group")
    origins: dict[str, _Origin] = {}
    for row in rows:
        line, name, group = f"{path} line {rows.line_num}", row["file"], row["group"]
        if not name or not group:
            raise DatasetError(f"{line} needs both a file and a group; found {name or ''},{group or ''}")
        if name in origins and origins[name].group != group:
            raise DatasetError(
                f"{line} puts {name} into {group}, an earlier line into {origins[name].group}; keep one"
            )
        origins[name] = _Origin(group, row.get("source") or "magnetic-tile")
    return origins

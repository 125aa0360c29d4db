"""Reader of the magnetic-tile layout: `MT_CLASS/Imgs/NAME.jpg` with the mask in `NAME.png`.

Source: Huang et al., Surface defect saliency of magnetic tile, The Visual Computer 2020. The same tile
was photographed up to six times; `groups.csv` (columns `file`, `group`) joins the pictures of one tile. An
optional column `source` names where a picture is from, for the model card.
"""

import csv
from pathlib import Path
from typing import NamedTuple

import cv2

from training.datasets.generated import CLASSES, generated_tiles
from training.datasets.sample import Blob, DatasetError, Sample

_FOLDERS = {f"MT_{name.capitalize()}": name for name in CLASSES} | {"MT_Free": "good"}


class _Origin(NamedTuple):
    group: str
    source: str


def read_magnetic_tile(root: Path) -> list[Sample]:
    """Return every picture below `root`, sorted by name.

    Raises DatasetError where the layout, a mask or the group of a picture is missing.
    """
    if not any((root / folder).is_dir() for folder in _FOLDERS):
        raise DatasetError(f"{root} holds none of {', '.join(_FOLDERS)}; give the folder that holds them")
    groups = _read_groups(root / "groups.csv")
    samples = []
    for folder, picture_class in _FOLDERS.items():
        for image in sorted((root / folder / "Imgs").glob("*.jpg")):
            name = image.relative_to(root).as_posix()
            if name not in groups:
                raise DatasetError(
                    f"{root / 'groups.csv'} names no group for {name}; add a line '{name},GROUP'"
                )
            samples.append(_sample(image, name, groups[name], picture_class))
    return samples


def write_generated(root: Path, count: int, seed: int) -> None:
    """Write `count` generated tiles, half of them defective, in this layout; each is its own group."""
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
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        if not {"file", "group"} <= set(rows.fieldnames or ()):
            raise DatasetError(f"{path} must have the columns file,group")
        return {row["file"]: _Origin(row["group"], row.get("source") or "magnetic-tile") for row in rows}

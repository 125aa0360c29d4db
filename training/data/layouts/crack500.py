"""Reader of the CRACK500 layout: `{train,val,test}.txt`, lines `traincrop/NAME.jpg traincrop/NAME.png`.

Source: Yang et al., Feature pyramid and hierarchical boosting network for pavement crack detection, IEEE
Transactions on Intelligent Transportation Systems 2020. The images are crops of photos. A crop's name
begins with the date and time of its photo, YYYYMMDD_HHMMSS; the crops of one photo are a group. Archives
that unpack to `traincrop/traincrop` are read too. The uncropped photos (`traindata` and so on) show the
same surfaces and are not read.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from training.data.groups import read_groups
from training.data.listing import PARTS, is_picture, refuse_others, refuse_strays
from training.data.masks import read_mask_set
from training.data.sample import Blob, Dataset, DatasetError, Published
from training.labels import LabelsConfig

CLASSES = ("crack",)
_PARTS = ("train", "val", "test")
_PHOTO = re.compile(r"\d{8}_\d{6}")


def is_crack500(root: Path) -> bool:
    """Whether a folder has this layout."""
    return any((root / f"{part}.txt").is_file() and (root / f"{part}crop").is_dir() for part in _PARTS)


def read_crack500(root: Path, labels: LabelsConfig) -> Dataset:
    """Return every crop in the lists; a crop with an empty mask is good. Decodes all masks.

    Raises DatasetError for a line whose files are missing, and for a file in a crop folder that no list
    has.
    """
    refuse_others(root, [f"{part}{kind}" for part in _PARTS for kind in ("crop", "data")])
    groups = read_groups(root, labels)
    used: set[Path] = set()
    rows: list[tuple[Path, Path, Published]] = []
    for part in _PARTS:
        if (root / f"{part}.txt").is_file():
            rows += [(image, mask, PARTS[part]) for image, mask in _read_list(root / f"{part}.txt", used)]
    found = [path for part in _PARTS for path in (root / f"{part}crop").rglob("*") if is_picture(path)]
    refuse_strays(found, used, "is in none of the lists train.txt, val.txt, test.txt; add it or move it away")
    drawn = read_mask_set(root, labels, [Blob(mask) for _, mask, _ in rows], CLASSES)
    samples = [
        groups.masked(
            Blob(image), drawn.image(Blob(mask), CLASSES[0]), drawn.classes, split, _photo_of(image)
        )
        for image, mask, split in rows
    ]
    return groups.dataset(drawn.classes.names, samples, "traincrop/NAME.jpg", drawn.notes)


def _photo_of(image: Path) -> str | None:
    photo = _PHOTO.match(image.name)
    return photo[0] if photo else None


def _read_list(path: Path, used: set[Path]) -> Iterator[tuple[Path, Path]]:
    """Yield the image and the mask of each line, and add both to `used`."""
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        names = line.split()
        if not names:
            continue
        if len(names) != 2:
            raise DatasetError(f"{path} line {number}: '{line}' must name an image and its mask")
        image, mask = (_find(path, number, Path(name)) for name in names)
        if image in used:
            raise DatasetError(f"{path} line {number} names {names[0]} again; keep one line in one list")
        used |= {image, mask}
        yield image, mask


def _find(path: Path, number: int, name: Path) -> Path:
    for candidate in (path.parent / name, path.parent / name.parent / name):
        if candidate.is_file():
            return candidate
    raise DatasetError(
        f"{path} line {number} names {name}, which is missing; copy it there or remove the line"
    )

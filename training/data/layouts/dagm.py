"""Reader of the DAGM 2007 layout: `ClassN/{Train,Test}/NNNN.PNG`, masks in `Label/NNNN_label.PNG`.

Source: competition at the DAGM 2007 symposium, "Weakly Supervised Learning for Industrial Optical
Inspection". Each of the ten textures ClassN has one kind of defect, so its folder names the class.
`Label/Labels.txt` lists which images are defective: a heading, then lines of index, 0 or 1, image, 0,
mask or 0. The masks are ellipses drawn loosely around the defects, so Dice on them means little.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from training.data.classes import GOOD
from training.data.groups import read_groups
from training.data.listing import PARTS, listed, refuse_others, refuse_strays
from training.data.masks import read_mask_set
from training.data.sample import Blob, Dataset, DatasetError
from training.labels import LabelsConfig

LABELS = "Labels.txt"
_PARTS = ("Train", "Test")
_TEXTURE = re.compile(r"Class(\d+)")


def is_dagm(root: Path) -> bool:
    """Whether a folder has this layout."""
    return any((root / name / part).is_dir() for name in _textures(root) for part in _PARTS)


def read_dagm(root: Path, labels: LabelsConfig) -> Dataset:
    """Return every image of every texture in the folder.

    Raises DatasetError if Labels.txt, the images and the masks do not match.
    """
    textures = _textures(root)
    refuse_others(root, textures)
    groups = read_groups(root, labels)
    rows: list[tuple[Path, Path | None, str]] = []
    for name in textures:
        refuse_others(root / name, _PARTS)
        for part in _PARTS:
            if (root / name / part).is_dir():
                rows += [(image, mask, name) for image, mask in _read_part(root / name / part)]
    drawn = read_mask_set(root, labels, [Blob(mask) for _, mask, _ in rows if mask], textures)
    samples = [
        groups.in_folder(image, name if mask else GOOD, mask, drawn, PARTS[image.parent.name.lower()])
        for image, mask, name in rows
    ]
    return groups.dataset(drawn.classes.names, samples, "ClassN/Train/NNNN.PNG", drawn.notes)


def _textures(root: Path) -> list[str]:
    """The folders ClassN in the order of N."""
    found = [(int(match[1]), match[0]) for path in root.iterdir() if (match := _TEXTURE.fullmatch(path.name))]
    return [name for _, name in sorted(found)]


def _read_part(folder: Path) -> Iterator[tuple[Path, Path | None]]:
    """Yield each image of one part, and its mask if it is defective."""
    labels = _read_labels(folder / "Label" / LABELS)
    images = _files(folder, {"Label"})
    drawn = _files(folder / "Label", {LABELS})
    refuse_strays(
        images.values(),
        [images[key] for key in labels if key in images],
        f"has no line in Label/{LABELS}; add one",
    )
    named = {mask.lower() for mask in labels.values() if mask}
    strays = [mask for key, mask in drawn.items() if key not in named]
    refuse_strays(strays, (), f"is named by no line of {LABELS}; remove it or add its name")
    for key, mask in labels.items():
        if key not in images:
            raise DatasetError(
                f"{folder / 'Label' / LABELS} names {key}, which is missing; copy it to {folder}"
            )
        if mask and mask.lower() not in drawn:
            raise DatasetError(
                f"{folder / 'Label' / LABELS} names {mask}, which is missing; copy it beside it"
            )
        yield images[key], drawn[mask.lower()] if mask else None


def _files(folder: Path, besides: set[str]) -> dict[str, Path]:
    """The PNG files of a folder by name in lower case, because copies of the set differ in case."""
    found: dict[str, Path] = {}
    for path in listed(folder):
        if path.name in besides:
            continue
        if path.suffix.lower() != ".png" or path.name.lower() in found:
            raise DatasetError(f"{path} has no place there; each name once, as .PNG: move it away")
        found[path.name.lower()] = path
    return found


def _read_labels(path: Path) -> dict[str, str | None]:
    """Read Labels.txt: image name in lower case -> name of its mask, None for a good image."""
    if not path.is_file():
        raise DatasetError(f"{path} is missing; it says which images are defective")
    labels: dict[str, str | None] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        words = line.split()
        if len(words) < 2:  # the heading, which is a single number, and empty lines
            continue
        if len(words) != 5 or words[1] not in "01" or (words[1] == "1") != (words[4] != "0"):
            raise DatasetError(
                f"{path} line {number}: '{line}' cannot be used; index, 1, image, 0, mask are expected, "
                "or index, 0, image, 0, 0"
            )
        if words[2].lower() in labels:
            raise DatasetError(f"{path} line {number} names {words[2]} again; keep one line")
        labels[words[2].lower()] = words[4] if words[1] == "1" else None
    return labels

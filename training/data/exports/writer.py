"""Write an imported set: the images unchanged, and their annotations as COCO instances."""

import json
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from training.data.exports.reading import Exported, Reading
from training.data.exports.shapes import Entry, NoArea
from training.data.listing import same_name
from training.data.sample import DatasetError, spelled_well, wrong_name

IMAGES, ANNOTATIONS, LABELS = "images", "annotations", "labels.yaml"
_FILES = {"train": "train", "validation": "val", "test": "test", None: "instances"}


@dataclass(frozen=True)
class Imported:
    """What was written: the number of images and sentences for the user; `renamed` where labels.yaml is."""

    images: int
    notes: tuple[str, ...]
    renamed: bool


@dataclass
class _LeftOut:
    """Marks that show no pixel, by their kind or outside their image, and images that have no other marks."""

    kinds: Counter[str] = field(default_factory=Counter)
    outside: int = 0
    images: dict[Path, None] = field(default_factory=dict)

    def drawn(self, image: Exported) -> list[tuple[str, Entry]]:
        """Return the label and the COCO entry of each mark that shows pixels, and note the others."""
        drawn: list[tuple[str, Entry]] = []
        for shape in image.shapes:
            if isinstance(shape, NoArea):
                self.kinds[shape.label] += 1
            elif (entry := shape.entry(image.size)) is None:
                self.outside += 1
            else:
                drawn.append((shape.label, entry))
        if image.shapes and not drawn:  # somebody marked it, so it is not good
            self.images[image.path] = None
        return drawn

    def notes(self) -> list[str]:
        """Return sentences for the user."""
        notes = [
            f"{count} marks of the kind {kind} have no area: they are left out"
            for kind, count in sorted(self.kinds.items())
        ]
        if self.outside:
            notes.append(f"{self.outside} marks show no pixel of their image: they are left out")
        if self.images:
            notes.append(
                f"{len(self.images)} images have no other marks, such as {next(iter(self.images))}: they are "
                "left out, neither good nor defective; draw areas, or remove the marks if they are good"
            )
        return notes


def write_imported(out: Path, reading: Reading, exported: Iterable[Exported]) -> Imported:
    """Write the images of an export, and annotations by part, into the folder `out`, which is made.

    Raises DatasetError with all faults at once, which leaves a folder to be removed.
    """
    images: dict[str, list[dict[str, Any]]] = defaultdict(list)
    entries: dict[str, list[dict[str, Any]]] = defaultdict(list)
    ids: dict[str, int] = {}
    used: dict[Path, str] = {}
    taken: set[str] = set()
    numbers = count(1)
    left_out = _LeftOut()
    for each in exported:
        with reading.faults.collected():
            if each.path in used or each.path in left_out.images:
                raise DatasetError(f"{each.path} is named twice; keep one entry")
            drawn = left_out.drawn(each)
            if each.path in left_out.images:
                continue
            used[each.path] = name = _name(each.path, reading.root, taken)
            file, height, width = _FILES[each.split], *each.size
            image = {"id": len(used), "file_name": f"{IMAGES}/{name}", "height": height, "width": width}
            images[file].append(image)
            for label, entry in drawn:
                ids.setdefault(label, len(ids) + 1)
                own = {"id": next(numbers), "image_id": len(used), "category_id": ids[label], "iscrowd": 0}
                entries[file].append(own | entry)
    reading.faults.refuse()
    reading.notes += left_out.notes()
    if not used:
        raise DatasetError(
            f"{reading.root} holds no labelled image; " + "; ".join(reading.notes or ["export it anew"])
        )
    for path, name in used.items():
        _place(path, out / IMAGES / name)
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    _write_annotations(
        out / ANNOTATIONS,
        {
            file: {"images": listed, "annotations": entries[file], "categories": categories}
            for file, listed in images.items()
        },
    )
    names = [name for name in ids if name != "void" or name in reading.classes]
    renamed = _write_labels(out / LABELS, names)
    return Imported(len(used), tuple(_notes(reading, names, images, renamed)), bool(renamed))


def _name(path: Path, root: Path, taken: set[str]) -> str:
    """The name of an image below OUT/images: its path in the export, less folders called images."""
    parts = path.relative_to(root).parts
    name = PurePosixPath(*(part for part in parts[:-1] if part.lower() != IMAGES), parts[-1]).as_posix()
    name = name.replace("\\", "_")  # of a file that Windows named with its folders
    number, stem = 2, PurePosixPath(name)
    while same_name(name).casefold() in taken:
        name, number = stem.with_stem(f"{stem.stem}-{number}").as_posix(), number + 1
    taken.add(same_name(name).casefold())
    return name


def _write_annotations(folder: Path, files: dict[str, Any]) -> None:
    folder.mkdir()
    for file, content in files.items():
        text = json.dumps(content, ensure_ascii=False)
        (folder / f"{file}.json").write_text(text, encoding="utf-8")


def _place(path: Path, target: Path) -> None:
    """Link an image into the set, or copy it where that is not possible."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source = path.resolve()
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _write_labels(path: Path, names: list[str]) -> dict[str, str]:
    """Write valid class names for those that a bundle cannot hold; return the renamed ones."""
    if wrong_name(names) is None:
        return {}
    taken: set[str] = {name.lower() for name in names if wrong_name([name]) is None}
    kept, renamed = set[str](), {}
    for name in names:
        if wrong_name([name]) is None and name.lower() not in kept:
            kept.add(name.lower())
            continue
        wanted = stem = spelled_well(name)
        number = 2
        while wanted.lower() in taken:
            wanted, number = f"{stem}-{number}", number + 1
        taken.add(wanted.lower())
        renamed[name] = "good" if name.lower() == "good" else wanted
    text = yaml.safe_dump({"labels": {"classes": renamed}}, allow_unicode=True, sort_keys=False)
    path.write_text(text, encoding="utf-8")
    return renamed


def _notes(reading: Reading, used: list[str], images: dict[str, Any], renamed: dict[str, str]) -> list[str]:
    """Sentences about results that the user may not expect."""
    notes = list(reading.notes)
    unused = [name for name in reading.classes if name not in used]
    if unused:
        notes.append(f"no image shows the classes {', '.join(unused)}: they are left out")
    parts = [f"{file} ({len(own)})" for file, own in images.items() if file != "instances"]
    if parts:
        notes.append(
            f"the tool's parts are kept: {', '.join(parts)}; a run makes its own splits all the same"
        )
    notes += [f"class '{name}' becomes '{new}' in {LABELS}; change it there" for name, new in renamed.items()]
    return notes

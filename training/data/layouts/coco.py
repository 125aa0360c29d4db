"""Reader of COCO instance annotations: polygons, compressed and uncompressed run-length encoding (RLE).

Source: cocodataset.org, "Data format". The JSON files lie at the root, in `annotations/` or, as
`_annotations.coco.json`, beside the images of a split; `train`, `val` or `test` in a file's path names
the split. Categories used by annotations become classes. An image without annotations is good. A
bounding box without a segmentation labels its image as defective, and its pixels are ignored, because
only some of them show the defect. Crowds (iscrowd) are read like other defects. An
annotation with `ignore` set only marks ignored pixels.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.inspection.repeats import repeated
from training.data.annotations import Checked, CocoRuns, Layers, Part, Polygons, read_checked
from training.data.classes import GOOD, Classes, classes_of
from training.data.groups import Groups, read_groups
from training.data.listing import PARTS, walk
from training.data.named_images import NamedImages, unlisted
from training.data.sample import IGNORED_NUMBER, Blob, Dataset, DatasetError, Faults, Published, Sample
from training.labels import LabelsConfig

_KEYS = ("images", "annotations", "categories")
_Id = int | str


class _Image(Checked):
    id: _Id
    file_name: str
    height: int | None = None
    width: int | None = None


class _Runs(Checked):
    size: tuple[int, int]  # height, width
    counts: str | tuple[int, ...]


class _Entry(Checked):
    id: _Id = ""
    image_id: _Id
    category_id: _Id
    segmentation: tuple[tuple[float, ...], ...] | _Runs | None = None
    bbox: tuple[float, ...] | None = None  # x, y, width, height
    ignore: bool = False  # as pycocotools evaluates it: its pixels count nowhere


class _Category(Checked):
    id: _Id
    name: str
    supercategory: str | None = None


class _File(Checked):
    images: tuple[_Image, ...]
    annotations: tuple[_Entry, ...]
    categories: tuple[_Category, ...]

    def names(self) -> dict[str, str]:
        """Category names by id."""
        return {str(each.id): each.name for each in self.categories}

    def used(self, ignored: bool = False) -> list[str]:
        """Names of categories that annotations use, or that ignored ones use, in the order of the file."""
        ids = {str(entry.category_id) for entry in self.annotations if entry.ignore == ignored}
        return [each.name for each in self.categories if str(each.id) in ids]


@dataclass(frozen=True)
class _Set:
    """State shared by all annotation files of a set while they are read."""

    groups: Groups
    images: NamedImages
    classes: Classes
    faults: Faults


def is_coco(root: Path) -> bool:
    """Whether a folder has this layout."""
    return bool(_files(root))


def read_coco(root: Path, labels: LabelsConfig) -> Dataset:
    """Return every image that the JSON files name.

    Raises DatasetError, with all faults at once, for an image that is missing, named twice or not named,
    and for an annotation that has an unknown image or category or cannot be drawn.
    """
    faults = Faults()
    contents = {}
    for path in _files(root):
        with faults.collected():
            contents[path] = _load(path)
    faults.refuse()
    used = list(dict.fromkeys(name for each in contents.values() for name in each.used()))
    every = list(dict.fromkeys(name for each in contents.values() for name in each.names().values()))
    classes = classes_of(used, labels, every)
    reading = _Set(read_groups(root, labels), NamedImages(root), classes, faults)
    samples: list[Sample] = []
    for path, content in contents.items():
        samples.extend(_read_file(reading, path, content))
    paths = [sample.image.path for sample in samples]
    for path in repeated(paths):
        faults.add(f"{path} is named twice; keep one entry")
    with faults.collected():
        fix = "is named by no annotation file; add it there"
        samples += unlisted(reading.groups, reading.images, paths, labels, fix)
    faults.refuse()
    ignored = {name for each in contents.values() for name in each.used(ignored=True)}
    unused = [name for name in every if name not in used and name not in ignored]
    notes = [f"no image shows the categories {', '.join(unused)}: left out"] if unused else []
    notes += classes.notes(used)
    return reading.groups.dataset(classes.names, samples, "the images of a COCO JSON file", notes)


def _files(root: Path) -> list[Path]:
    """The instance files of a set; other JSON files, such as captions, lack one of the keys."""
    candidates = [
        path
        for path in walk(root)
        if path.suffix.lower() == ".json"
        and (path.parent in (root, root / "annotations") or path.name == "_annotations.coco.json")
    ]
    quoted = [f'"{key}"'.encode() for key in _KEYS]
    return [path for path in candidates if all(map(path.read_bytes().__contains__, quoted))]


def _load(path: Path) -> _File:
    """Read one file; raises DatasetError if it is no COCO instance file or has an id twice."""
    content = read_checked(path, _File)
    for what, ids in (
        ("image", [str(image.id) for image in content.images]),
        ("category", [str(category.id) for category in content.categories]),
    ):
        if again := repeated(ids):
            raise DatasetError(f"{path} gives the {what} id {again[0]} twice; number them anew")
    return content


def _read_file(reading: _Set, path: Path, content: _File) -> Iterator[Sample]:
    """Yield the images of one annotation file; ids are compared as text: some tools mix types."""
    names, faults = content.names(), reading.faults
    entries: dict[str, list[_Entry]] = defaultdict(list)
    for entry in content.annotations:
        if str(entry.category_id) in names:
            entries[str(entry.image_id)].append(entry)
        else:
            faults.add(f"{path}, annotation {entry.id}: {entry.category_id} is no category of the file")
    for image in content.images:
        own = entries.pop(str(image.id), [])
        with faults.collected():
            blob = Blob(reading.images.find(path, image.file_name, path.stem.rpartition("_")[2]))
            label, layers = _labelled(reading, f"{path}, image {image.file_name}", image, own, names)
            yield reading.groups.sample(blob, label, layers, _split(reading.groups.root, path))
    for wrong, without in entries.items():
        faults.add(
            f"{path}: no image has the id {wrong}, which {len(without)} annotations name; add it to images"
        )


def _labelled(
    reading: _Set, where: str, image: _Image, entries: list[_Entry], names: dict[str, str]
) -> tuple[str, Layers | None]:
    """The image's label and its annotation, which is None for a defective image without an outline."""
    shown: list[int] = []
    parts: list[Part] = []
    for entry in entries:
        name = names[str(entry.category_id)]
        number = IGNORED_NUMBER if entry.ignore else reading.classes.number(name)
        if number:
            shown.append(number)
            with reading.faults.collected():
                parts += _parts(entry, number, f"{where}, annotation {entry.id}")
    size = None if image.height is None or image.width is None else (image.height, image.width)
    label, layers = reading.classes.label(shown), Layers(tuple(parts), size, where)
    outlined = any(number != IGNORED_NUMBER for number in layers.numbers())
    return label, layers if outlined or label == GOOD else None


def _parts(entry: _Entry, number: int, where: str) -> list[Part]:
    """The parts of one annotation; a box without a segmentation becomes ignored pixels."""
    drawn = entry.segmentation
    if isinstance(drawn, _Runs):
        return [CocoRuns(number, drawn.size, drawn.counts, where)]
    if not drawn:
        return [_box(entry.bbox, where)] if entry.bbox else []
    for ring in drawn:
        if len(ring) < 6 or len(ring) % 2:
            raise DatasetError(
                f"{where}: a polygon has {len(ring)} numbers; it needs three or more pairs x, y"
            )
    return [Polygons(number, drawn, where)]


def _box(box: tuple[float, ...], where: str) -> Part:
    """A bounding box (x, y, width, height) as ignored pixels."""
    if len(box) != 4:
        raise DatasetError(f"{where}: its bbox has {len(box)} numbers; x, y, width, height are expected")
    x, y, width, height = box
    ring = (x, y, x + width, y, x + width, y + height, x, y + height)
    return Polygons(IGNORED_NUMBER, (ring,), where)


def _split(root: Path, path: Path) -> Published | None:
    """The published split in the path of an annotation file, if any."""
    part = re.search(r"(?<![a-z])(train|val|test)", path.relative_to(root).as_posix().lower())
    return PARTS[part[1]] if part else None

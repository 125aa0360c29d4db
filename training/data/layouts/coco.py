"""Reader of COCO instance annotations: polygons, compressed and uncompressed run lengths.

Source: cocodataset.org, "Data format". The JSON files lie at the root, in `annotations/` or, as
`_annotations.coco.json`, beside the pictures of a part; `train`, `val` or `test` in a file's path is the
part. Categories are classes; one without annotations whose name is another's supercategory is a heading. A
picture without annotations is good; one with an annotation that has a box only is labelled as a picture.
Crowds (iscrowd) are defects like any other.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from app.inspection.repeats import repeated
from training.data.annotations import Checked, CocoRuns, Layers, Polygons, read_checked
from training.data.groups import GOOD, Groups, read_groups
from training.data.listing import PARTS, is_picture, listed, refuse_strays
from training.data.sample import Annotation, Blob, Dataset, DatasetError, Published, Sample

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


class _Category(Checked):
    id: _Id
    name: str
    supercategory: str | None = None


class _File(Checked):
    images: tuple[_Image, ...]
    annotations: tuple[_Entry, ...]
    categories: tuple[_Category, ...]

    def classes(self) -> dict[_Id, str]:
        """Class names by category id, in the order of the file, less headings."""
        used = {entry.category_id for entry in self.annotations}
        headings = {each.supercategory for each in self.categories if each.supercategory != each.name}
        return {
            each.id: each.name for each in self.categories if each.id in used or each.name not in headings
        }


def is_coco(root: Path) -> bool:
    """Whether a folder shows this layout."""
    return bool(_files(root))


def read_coco(root: Path) -> Dataset:
    """Return every picture that the JSON files name.

    Raises DatasetError for a picture that is missing, named twice or not at all, and for an annotation of an
    unknown picture or category, or that cannot be drawn.
    """
    contents = {path: _load(path) for path in _files(root)}
    classes: list[str] = []
    for content in contents.values():
        classes += [name for name in dict.fromkeys(content.classes().values()) if name not in classes]
    groups = read_groups(root, root.resolve().name)
    samples: list[Sample] = []
    for path, content in contents.items():
        samples.extend(_read_file(groups, path, content, classes))
    used = [sample.image.path for sample in samples]
    refuse_strays(repeated(used), (), "is named twice; keep one entry")
    found = [path for folder in {path.parent for path in used} for path in listed(folder) if is_picture(path)]
    refuse_strays(found, set(used), "is named by no annotation file; add it there or move it away")
    return groups.dataset(classes, samples, "the images of a COCO JSON file")


def _files(root: Path) -> list[Path]:
    """The instance files of a set; files of captions or of other things lack one of the keys."""
    patterns = ("*.json", "annotations/*.json", "*/_annotations.coco.json")
    candidates = sorted(path for pattern in patterns for path in root.glob(pattern))
    quoted = [f'"{key}"'.encode() for key in _KEYS]
    return [path for path in candidates if all(map(path.read_bytes().__contains__, quoted))]


def _load(path: Path) -> _File:
    """Read one file; raises DatasetError where it is none, or gives an id twice."""
    content = read_checked(path, _File)
    for what, ids in (
        ("picture", [image.id for image in content.images]),
        ("category", [category.id for category in content.categories]),
    ):
        if again := repeated(ids):
            raise DatasetError(f"{path} gives the {what} id {again[0]} twice; number them anew")
    return content


def _read_file(groups: Groups, path: Path, content: _File, classes: list[str]) -> Iterator[Sample]:
    """Yield the pictures of one annotation file."""
    names = content.classes()
    entries: dict[_Id, list[_Entry]] = defaultdict(list)
    for entry in content.annotations:
        if entry.category_id not in names:
            raise DatasetError(
                f"{path}, annotation {entry.id}: {entry.category_id} is no category of the file"
            )
        entries[entry.image_id].append(entry)
    for image in content.images:
        name = f"{path}, picture {image.file_name}"
        shown, parts = set(), []
        for entry in entries.pop(image.id, []):
            number = classes.index(names[entry.category_id]) + 1
            shown.add(number)
            parts.append(_part(entry, number, f"{name}, annotation {entry.id}"))
        drawn = tuple(part for part in parts if part is not None)
        size = None if image.height is None or image.width is None else (image.height, image.width)
        annotation = Layers(drawn, size, name) if len(drawn) == len(parts) else None
        picture_class = ",".join(classes[number - 1] for number in sorted(shown)) or GOOD
        blob = Blob(_find(groups.root, path, image.file_name))
        yield groups.sample(blob, picture_class, annotation, _split(groups.root, path))
    if entries:
        raise DatasetError(
            f"{path}: no picture has the id {next(iter(entries))}, which annotations name; add it"
        )


def _part(entry: _Entry, number: int, where: str) -> Annotation | None:
    """What one entry marks; None where it only gives a box."""
    drawn = entry.segmentation
    if not drawn:
        return None
    if isinstance(drawn, _Runs):
        return CocoRuns(number, drawn.size, drawn.counts, where)
    for ring in drawn:
        if len(ring) < 6 or len(ring) % 2:
            raise DatasetError(
                f"{where}: a polygon has {len(ring)} numbers; it needs three or more pairs x, y"
            )
    return Polygons(number, drawn, where)


def _find(root: Path, path: Path, name: str) -> Path:
    """Where a picture lies: beside its file, at the root, in images/, or in a folder called like the part."""
    part = path.stem.rpartition("_")[2]
    places = (path.parent, root, root / "images", root / part, root / "images" / part)
    found = list(dict.fromkeys(place / name for place in places if (place / name).is_file()))
    if len(found) != 1:
        what = (
            f"lies in {' and '.join(str(each.parent) for each in found)}; keep one" if found else "is missing"
        )
        raise DatasetError(f"{path} names {name}, which {what}; it is looked for below {root}")
    if not found[0].resolve().is_relative_to(root.resolve()):
        raise DatasetError(f"{path} names {name}, which lies outside {root}; give the folder that holds both")
    return found[0]


def _split(root: Path, path: Path) -> Published | None:
    """The part that an annotation file is called after, if any."""
    part = re.search(r"(?<![a-z])(train|val|test)", path.relative_to(root).as_posix().lower())
    return PARTS[part[1]] if part else None

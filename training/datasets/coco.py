"""Reader of COCO instance annotations: polygons, compressed and uncompressed run lengths.

Source: cocodataset.org, "Data format". The JSON files lie at the root, in `annotations/` or, as
`_annotations.coco.json`, beside the pictures of a part; `train`, `val` or `test` in a file's path is the
part. Categories are classes; one without annotations whose name is another's supercategory is a heading. A
picture without annotations is good; one with an annotation that has a box only is labelled as a picture.
Crowds (iscrowd) are defects like any other.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.datasets.annotations import CocoRuns, Layers, Polygons
from training.datasets.groups import GOOD, Groups, read_groups
from training.datasets.listing import PARTS, is_picture, listed, refuse_strays
from training.datasets.sample import Annotation, Blob, Dataset, DatasetError, Published, Sample, Size

Facts = dict[str, Any]
_KEYS = ("images", "annotations", "categories")


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
    for facts in contents.values():
        classes += [name for name in _categories(facts).values() if name not in classes]
    groups = read_groups(root, root.resolve().name)
    samples: list[Sample] = []
    for path, facts in contents.items():
        samples.extend(_read_file(groups, path, facts, classes))
    used = Counter(sample.image.path for sample in samples)
    refuse_strays([path for path in used if used[path] > 1], (), "is named twice; keep one entry")
    found = [path for folder in {path.parent for path in used} for path in listed(folder) if is_picture(path)]
    refuse_strays(found, used, "is named by no annotation file; add it there or move it away")
    return groups.dataset(classes, samples, "the images of a COCO JSON file")


def _files(root: Path) -> list[Path]:
    """The instance files of a set; files of captions or of other things lack one of the keys."""
    patterns = ("*.json", "annotations/*.json", "*/_annotations.coco.json")
    candidates = sorted(path for pattern in patterns for path in root.glob(pattern))
    quoted = [f'"{key}"'.encode() for key in _KEYS]
    return [path for path in candidates if all(map(path.read_bytes().__contains__, quoted))]


def _load(path: Path) -> Facts:
    try:
        facts = json.loads(path.read_bytes())
    except ValueError as error:
        raise DatasetError(f"{path} is no JSON ({error}); export it anew") from error
    if not isinstance(facts, dict) or not all(isinstance(facts.get(key), list) for key in _KEYS):
        raise DatasetError(f"{path} must be an object with the lists {', '.join(_KEYS)}")
    needed = {
        "images": {"id", "file_name"},
        "annotations": {"image_id", "category_id"},
        "categories": {"id", "name"},
    }
    for key, fields in needed.items():
        for position, entry in enumerate(facts[key]):
            lacking = fields - set(entry) if isinstance(entry, dict) else fields
            if lacking:
                raise DatasetError(f"{path}: {key}[{position}] lacks {', '.join(sorted(lacking))}; add it")
    return facts


def _categories(facts: Facts) -> dict[int, str]:
    """Class names by category id, in the order of the ids, less headings."""
    used = {entry["category_id"] for entry in facts["annotations"]}
    above = [(entry.get("supercategory"), entry["name"]) for entry in facts["categories"]]
    headings = {heading for heading, name in above if heading != name}
    by_id = sorted(facts["categories"], key=lambda entry: int(entry["id"]))
    return {
        each["id"]: str(each["name"]) for each in by_id if each["id"] in used or each["name"] not in headings
    }


def _read_file(groups: Groups, path: Path, facts: Facts, classes: list[str]) -> Iterator[Sample]:
    """Yield the pictures of one annotation file."""
    names = _categories(facts)
    entries: dict[Any, list[Facts]] = defaultdict(list)
    for entry in facts["annotations"]:
        where = f"{path}, annotation {entry.get('id', '')} of picture {entry['image_id']}"
        if entry["category_id"] not in names:
            raise DatasetError(f"{where}: {entry['category_id']} is no category of the file; add it there")
        entries[entry["image_id"]].append(entry)
    for image in facts["images"]:
        name = f"{path}, picture {image['file_name']}"
        shown, parts = set(), []
        for entry in entries.pop(image["id"], []):
            number = classes.index(names[entry["category_id"]]) + 1
            shown.add(number)
            parts.append(_part(entry, number, f"{name}, annotation {entry.get('id', '')}"))
        drawn = tuple(part for part in parts if part is not None)
        annotation = Layers(drawn, _size(image, name), name) if len(drawn) == len(parts) else None
        picture_class = ",".join(classes[number - 1] for number in sorted(shown)) or GOOD
        blob = Blob(_find(groups.root, path, str(image["file_name"])))
        yield groups.sample(blob, picture_class, annotation, _split(groups.root, path))
    if entries:
        raise DatasetError(
            f"{path}: no picture has the id {next(iter(entries))}, which annotations name; add it"
        )


def _part(entry: Facts, number: int, where: str) -> Annotation | None:
    """What one entry marks; None where it only gives a box."""
    segmentation = entry.get("segmentation")
    if not segmentation:
        return None
    try:
        if isinstance(segmentation, list):
            return Polygons(number, tuple(_ring(ring) for ring in segmentation), where)
        height, width = (int(side) for side in segmentation["size"])
        counts = segmentation["counts"]
        runs = counts if isinstance(counts, str) else tuple(int(count) for count in counts)
        return CocoRuns(number, (height, width), runs, where)
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{where}: its segmentation cannot be used ({error}); polygons, or size and counts, are right"
        ) from error


def _ring(values: list[float]) -> tuple[float, ...]:
    if len(values) < 6 or len(values) % 2:
        raise ValueError(f"a polygon has {len(values)} numbers; at least three pairs x, y are needed")
    return tuple(float(value) for value in values)


def _size(image: Facts, name: str) -> Size | None:
    """The size the file states of a picture, if it does."""
    if image.get("height") is None or image.get("width") is None:
        return None
    try:
        return int(image["height"]), int(image["width"])
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{name}: height and width must be numbers ({error})") from error


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

"""Reader of labelme annotations: one JSON file per picture, beside it or anywhere below the root.

Source: github.com/wkentaro/labelme. Labels of shapes are the classes. Shapes are drawn as labelme itself
draws them: a line or linestrip LINE_WIDTH_PX wide, a point as a disc of radius POINT_RADIUS_PX. A picture
without shapes is good, unless a flag that bears the name of a class is set: then it is labelled as a
picture. Other flags say nothing of defects. Where the picture is not at `imagePath`, the copy in `imageData`
is read.
"""

import base64
import binascii
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.datasets.annotations import Layers
from training.datasets.groups import GOOD, Groups, read_groups
from training.datasets.listing import is_picture, listed, refuse_strays
from training.datasets.outlines import KINDS, Outline, Patch
from training.datasets.sample import Annotation, Blob, Dataset, DatasetError, Sample, Size

Facts = dict[str, Any]
_NO_CLASS = ("__ignore__", "_background_", GOOD)  # the first two have a meaning of their own in labelme


@dataclass(frozen=True)
class EmbeddedPicture(Blob):
    """A picture inside its labelme file."""

    def read(self) -> bytes:
        """Return the picture's bytes; raises DatasetError where `imageData` holds none."""
        try:
            return base64.b64decode(_load(self.path)["imageData"], validate=True)
        except (TypeError, binascii.Error) as error:
            raise DatasetError(f"{self.path}: imageData is no picture ({error}); save it anew") from error


def is_labelme(root: Path) -> bool:
    """Whether a folder shows this layout, by the first JSON file in it."""
    first = min(root.rglob("*.json"), default=None)
    return first is not None and all(key in first.read_bytes() for key in (b'"shapes"', b'"imagePath"'))


def read_labelme(root: Path) -> Dataset:
    """Return the picture of every JSON file.

    Raises DatasetError for a picture without a JSON file, or the reverse, and for a shape of no known kind.
    """
    files = sorted(path for path in root.rglob("*.json") if not path.name.startswith("."))
    contents = {path: _load(path) for path in files}
    classes = sorted({shape["label"] for facts in contents.values() for shape in facts["shapes"]})
    wrong = next((name for name in classes if name in _NO_CLASS or "," in name), None)
    if wrong is not None:
        path = next(
            path for path, facts in contents.items() if any(s["label"] == wrong for s in facts["shapes"])
        )
        raise DatasetError(
            f"{path}: '{wrong}' cannot be a defect class; remove the shape or rename its label"
        )
    groups = read_groups(root, root.resolve().name)
    samples = [_sample(groups, path, facts, classes) for path, facts in contents.items()]
    used = Counter(sample.image.path for sample in samples)
    refuse_strays([path for path in used if used[path] > 1], (), "has two JSON files; keep one")
    folders = {path.parent for path in (*used, *files)}
    found = [path for folder in folders for path in listed(folder) if is_picture(path)]
    refuse_strays(found, used, "has no JSON file; save one, without shapes if it is good, or move it away")
    return groups.dataset(classes, samples, "NAME.jpg and NAME.json")


def _load(path: Path) -> Facts:
    """Read a labelme file; raises DatasetError where it is none."""
    try:
        facts = json.loads(path.read_bytes())
        shapes, name = facts["shapes"], facts["imagePath"]
        well_formed = isinstance(name, str) and all(isinstance(shape["label"], str) for shape in shapes)
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is no labelme file ({error}); shapes and imagePath are needed") from error
    if not well_formed:
        raise DatasetError(f"{path} is no labelme file; imagePath and the labels must be texts")
    return dict(facts)


def _sample(groups: Groups, path: Path, facts: Facts, classes: list[str]) -> Sample:
    parts = tuple(_parts(path, facts, classes))
    flags = [name for name, is_set in (facts.get("flags") or {}).items() if is_set and name in classes]
    shown = sorted({shape["label"] for shape in facts["shapes"]} | set(flags))
    drawn = {shape["label"] for shape in facts["shapes"]} >= set(flags)  # else some of the pixels are unknown
    annotation = Layers(parts, _size(path, facts), str(path)) if drawn else None
    return groups.sample(_picture(groups.root, path, facts), ",".join(shown) or GOOD, annotation)


def _parts(path: Path, facts: Facts, classes: list[str]) -> Iterator[Annotation]:
    for position, shape in enumerate(facts["shapes"], start=1):
        where = f"{path}, shape {position} ({shape['label']})"
        number = classes.index(shape["label"]) + 1
        kind = shape.get("shape_type") or "polygon"  # files older than labelme 3.16 say nothing
        try:
            points = tuple((float(x), float(y)) for x, y in shape["points"])
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"{where}: its points must be pairs x, y ({error})") from error
        if kind == "mask" and len(points) == 2 and isinstance(shape.get("mask"), str):
            yield Patch(number, points, shape["mask"], where)
        elif kind not in KINDS:
            raise DatasetError(f"{where}: a {kind} cannot be read; known are {', '.join(KINDS)} and mask")
        elif not KINDS[kind].least <= len(points) <= KINDS[kind].most:
            raise DatasetError(f"{where}: {len(points)} points make no {kind}; draw it again")
        else:
            yield Outline(number, kind, points, where)


def _size(path: Path, facts: Facts) -> Size | None:
    """The size the file states of its picture, if it does."""
    height, width = facts.get("imageHeight"), facts.get("imageWidth")
    if height is None or width is None:
        return None
    if not (isinstance(height, int) and isinstance(width, int)):
        raise DatasetError(f"{path}: imageHeight and imageWidth must be whole numbers")
    return height, width


def _picture(root: Path, path: Path, facts: Facts) -> Blob:
    """The picture of a labelme file; labelme on Windows writes its path with backslashes."""
    image = Path(os.path.normpath(path.parent / facts["imagePath"].replace("\\", "/")))
    if image.is_file():
        if not image.is_relative_to(os.path.normpath(root)):
            raise DatasetError(
                f"{path} names {image}, which lies outside {root}; give the folder that holds both"
            )
        return Blob(image)
    if not facts.get("imageData"):
        raise DatasetError(
            f"{path} names {facts['imagePath']}, which is missing, and holds no imageData; copy it"
        )
    return EmbeddedPicture(path)

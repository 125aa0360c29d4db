"""Reader of labelme annotations: one JSON file per image, beside it or anywhere below the root.

Source: github.com/wkentaro/labelme. The labels of the shapes are the classes. Shapes are drawn as
labelme draws them: a line or linestrip LINE_WIDTH_PX wide, a point as a disc of radius POINT_RADIUS_PX.
An image without shapes is good, unless a flag with the name of a class is set: then it has an
image-level label of that class. Other flags are not read. If the image is not found by `imagePath`, the
copy in `imageData` is read.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from app.inspection.repeats import repeated
from training.data.annotations import Checked, Layers, Part, read_checked
from training.data.classes import GOOD, IGNORE, Classes, classes_of
from training.data.groups import Groups, read_groups
from training.data.listing import walk
from training.data.named_images import NamedImages, unlisted
from training.data.outlines import KINDS, Outline, Patch
from training.data.sample import Blob, Dataset, DatasetError, Faults, Sample
from training.labels import LabelsConfig

_MEANT = {"__ignore__": IGNORE, "_background_": GOOD}  # their meaning in labelme
_KEYS = (b'"shapes"', b'"imagePath"')


class _Shape(Checked):
    label: str
    points: tuple[tuple[float, float], ...]
    shape_type: str | None = None
    mask: str | None = None


class _File(Checked):
    shapes: tuple[_Shape, ...]
    image_path: str = Field(alias="imagePath")
    image_data: str | None = Field(None, alias="imageData")
    height: int | None = Field(None, alias="imageHeight")
    width: int | None = Field(None, alias="imageWidth")
    flags: dict[str, bool] | None = None

    @property
    def labels(self) -> set[str]:
        """The labels of the shapes."""
        return {shape.label for shape in self.shapes}


@dataclass(frozen=True)
class EmbeddedPicture(Blob):
    """An image inside its labelme file."""

    def read(self) -> bytes:
        """Return the image's bytes; raises DatasetError if `imageData` is not valid base64."""
        try:
            return base64.b64decode(read_checked(self.path, _File).image_data or "", validate=True)
        except ValueError as error:  # not base64 or not ASCII
            raise DatasetError(f"{self.path}: imageData is no image ({error}); save it anew") from error


@dataclass(frozen=True)
class _Set:
    """State shared by all annotation files of a set while they are read."""

    groups: Groups
    images: NamedImages
    classes: Classes
    known: tuple[str, ...]
    faults: Faults


def is_labelme(root: Path) -> bool:
    """Whether a folder holds a labelme JSON file."""
    return any(_is_annotation(path) for path in walk(root))


def read_labelme(root: Path, labels: LabelsConfig) -> Dataset:
    """Return the image of every JSON file.

    Raises DatasetError, with all faults at once, for an image without a JSON file, a JSON file without
    an image, and a shape of an unknown kind.
    """
    faults = Faults()
    contents = {}
    for path in (path for path in walk(root) if path.suffix.lower() == ".json"):
        with faults.collected():
            contents[path] = read_checked(path, _File)
    faults.refuse()
    names = sorted(set().union(*(content.labels for content in contents.values())))
    for name in _MEANT.keys() & set(names) - labels.classes.keys():
        raise DatasetError(
            f"'{name}' is no defect class; say in the configuration what it means, labels: classes: "
            f"{{{name}: {_MEANT[name]}}}, or remove its shapes"
        )
    classes = classes_of(names, labels)
    reading = _Set(read_groups(root, labels), NamedImages(root), classes, tuple(names), faults)
    samples: list[Sample] = []
    for path, content in contents.items():
        with faults.collected():
            samples.append(_sample(reading, path, content))
    paths = [sample.image.path for sample in samples]
    for path in repeated(paths):
        faults.add(f"{path} has two JSON files; keep one")
    with faults.collected():
        fix = "has no JSON file; save one, without shapes if it is good"
        samples += unlisted(reading.groups, reading.images, paths, labels, fix)
    faults.refuse()
    return reading.groups.dataset(classes.names, samples, "NAME.jpg and NAME.json", classes.notes(names))


def _is_annotation(path: Path) -> bool:
    if path.suffix.lower() != ".json":
        return False
    data = path.read_bytes()
    return all(key in data for key in _KEYS)


def _sample(reading: _Set, path: Path, content: _File) -> Sample:
    classes = reading.classes
    flags = {name for name, is_set in (content.flags or {}).items() if is_set and name in reading.known}
    shown = [classes.number(name) for name in content.labels | flags]
    size = None if content.height is None or content.width is None else (content.height, content.width)
    # A flag without a shape of that class: the mask is incomplete, so only the label is used.
    parts = tuple(_parts(reading, path, content))
    annotation = Layers(parts, size, str(path)) if flags <= content.labels else None
    return reading.groups.sample(_picture(reading, path, content), classes.label(shown), annotation)


def _parts(reading: _Set, path: Path, content: _File) -> Iterator[Part]:
    for position, shape in enumerate(content.shapes, start=1):
        number = reading.classes.number(shape.label)
        if number:
            with reading.faults.collected():
                yield _part(shape, number, f"{path}, shape {position} ({shape.label})")


def _part(shape: _Shape, number: int, where: str) -> Part:
    kind = shape.shape_type or "polygon"  # files older than labelme 3.16 have no shape_type
    if kind == "mask" and len(shape.points) == 2 and shape.mask is not None:
        return Patch(number, shape.points, shape.mask, where)
    if kind not in KINDS:
        raise DatasetError(f"{where}: a {kind} cannot be read; known are {', '.join(KINDS)} and mask")
    if not KINDS[kind].least <= len(shape.points) <= KINDS[kind].most:
        raise DatasetError(f"{where}: {len(shape.points)} points make no {kind}; draw it again")
    return Outline(number, kind, shape.points, where)


def _picture(reading: _Set, path: Path, content: _File) -> Blob:
    """The image of a labelme file: the file at `imagePath`, else the copy in `imageData`."""
    try:
        return Blob(reading.images.find(path, content.image_path))
    except DatasetError as error:
        if content.image_data:
            return EmbeddedPicture(path)
        raise DatasetError(f"{error}; it holds no imageData either") from error

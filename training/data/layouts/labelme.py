"""Reader of labelme annotations: one JSON file per picture, beside it or anywhere below the root.

Source: github.com/wkentaro/labelme. Labels of shapes are the classes. Shapes are drawn as labelme itself
draws them: a line or linestrip LINE_WIDTH_PX wide, a point as a disc of radius POINT_RADIUS_PX. A picture
without shapes is good, unless a flag that bears the name of a class is set: then it is labelled as a
picture. Other flags say nothing of defects. Where the picture is not at `imagePath`, the copy in `imageData`
is read.
"""

import base64
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from app.inspection.repeats import repeated
from training.data.annotations import Checked, Layers, read_checked
from training.data.groups import GOOD, Groups, read_groups
from training.data.listing import is_picture, listed, refuse_strays
from training.data.outlines import KINDS, Outline, Patch
from training.data.sample import Annotation, Blob, Dataset, DatasetError, Sample

_NO_CLASS = ("__ignore__", "_background_")  # they have a meaning of their own in labelme


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
        """What the shapes show."""
        return {shape.label for shape in self.shapes}


@dataclass(frozen=True)
class EmbeddedPicture(Blob):
    """A picture inside its labelme file."""

    def read(self) -> bytes:
        """Return the picture's bytes; raises DatasetError where `imageData` holds none."""
        try:
            return base64.b64decode(read_checked(self.path, _File).image_data or "", validate=True)
        except ValueError as error:  # no base64, or no ASCII
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
    contents = {path: read_checked(path, _File) for path in files}
    for path, content in contents.items():
        for name in content.labels.intersection(_NO_CLASS):
            raise DatasetError(f"{path}: '{name}' is no defect class; remove the shape or rename its label")
    classes = sorted(set().union(*(content.labels for content in contents.values())))
    groups = read_groups(root, root.resolve().name)
    samples = [_sample(groups, path, content, classes) for path, content in contents.items()]
    used = [sample.image.path for sample in samples]
    refuse_strays(repeated(used), (), "has two JSON files; keep one")
    folders = {path.parent for path in (*used, *files)}
    found = [path for folder in folders for path in listed(folder) if is_picture(path)]
    refuse_strays(
        found, set(used), "has no JSON file; save one, without shapes if it is good, or move it away"
    )
    return groups.dataset(classes, samples, "NAME.jpg and NAME.json")


def _sample(groups: Groups, path: Path, content: _File, classes: list[str]) -> Sample:
    parts = tuple(_parts(path, content, classes))
    flags = {name for name, is_set in (content.flags or {}).items() if is_set and name in classes}
    shown = sorted(content.labels | flags)
    size = None if content.height is None or content.width is None else (content.height, content.width)
    # A flag without a shape of that name: some of the pixels are unknown.
    annotation = Layers(parts, size, str(path)) if flags <= content.labels else None
    return groups.sample(_picture(groups.root, path, content), ",".join(shown) or GOOD, annotation)


def _parts(path: Path, content: _File, classes: list[str]) -> Iterator[Annotation]:
    for position, shape in enumerate(content.shapes, start=1):
        where = f"{path}, shape {position} ({shape.label})"
        number = classes.index(shape.label) + 1
        kind = shape.shape_type or "polygon"  # files older than labelme 3.16 say nothing
        if kind == "mask" and len(shape.points) == 2 and shape.mask is not None:
            yield Patch(number, shape.points, shape.mask, where)
        elif kind not in KINDS:
            raise DatasetError(f"{where}: a {kind} cannot be read; known are {', '.join(KINDS)} and mask")
        elif not KINDS[kind].least <= len(shape.points) <= KINDS[kind].most:
            raise DatasetError(f"{where}: {len(shape.points)} points make no {kind}; draw it again")
        else:
            yield Outline(number, kind, shape.points, where)


def _picture(root: Path, path: Path, content: _File) -> Blob:
    """The picture of a labelme file; labelme on Windows writes its path with backslashes."""
    image = Path(os.path.normpath(path.parent / content.image_path.replace("\\", "/")))
    if image.is_file():
        if not image.is_relative_to(os.path.normpath(root)):
            raise DatasetError(
                f"{path} names {image}, which lies outside {root}; give the folder that holds both"
            )
        return Blob(image)
    if not content.image_data:
        raise DatasetError(
            f"{path} names {content.image_path}, which is missing, and holds no imageData; copy it"
        )
    return EmbeddedPicture(path)

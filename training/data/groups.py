"""Groups of images that show one part: reads `groups.csv` at the root of a set, and builds samples.

The columns are `file` (the image's path below the root), `group` and optionally `source`, the origin of
the image for the model card. A split never separates the images of one group. Without the file, each
image is its own group, unless the layout itself defines groups.
"""

import csv
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from training.data.annotations import Layers
from training.data.classes import GOOD, Classes
from training.data.listing import same_name
from training.data.masks import MaskImage, MaskSet
from training.data.sample import (
    IGNORED_NUMBER,
    Annotation,
    Blob,
    Dataset,
    DatasetError,
    Mask,
    Published,
    Sample,
)
from training.labels import LabelsConfig

UNKNOWN = "(unknown)"  # not a valid class name
GROUPS = "groups.csv"
CSV_FIX = "look for a quotation mark that is never closed"


class Origin(NamedTuple):
    """The group and the source of an image."""

    group: str
    source: str


@dataclass(frozen=True)
class Groups:
    """The root of a set, the source name of its images, and the content of groups.csv, if any."""

    root: Path
    source: str
    listed: dict[str, Origin] | None = None

    def sample(
        self,
        image: Blob,
        picture_class: str,
        annotation: Annotation | None = None,
        split: Published | None = None,
        group: str | None = None,
    ) -> Sample:
        """Return one sample, named by its path below the root; `group` is the layout's group, if any.

        Raises DatasetError if groups.csv does not list the image.
        """
        name = image.path.relative_to(self.root).as_posix()
        origin = self._origin(name, group)
        return Sample(
            name=name,
            group=origin.group,
            source=origin.source,
            picture_class=picture_class,
            defective=picture_class != GOOD,
            image=image,
            annotation=annotation,
            split=split,
            ignores=_ignores(annotation),
        )

    def masked(
        self,
        image: Blob,
        mask: Mask,
        classes: Classes,
        split: Published | None = None,
        group: str | None = None,
    ) -> Sample:
        """Return one sample, like `sample`, with the classes in its mask as label. Decodes the mask."""
        try:
            numbers = mask.numbers()
        except DatasetError as error:
            return replace(self.sample(image, UNKNOWN, mask, split, group), unlabelled=str(error))
        return self.sample(image, classes.label(numbers), mask, split, group)

    def in_folder(
        self, image: Path, name: str, mask: Path | None, masks: MaskSet, split: Published | None = None
    ) -> Sample:
        """Return one sample with the class `name` of its folder, which may be GOOD.

        If the masks hold class numbers or colours, the classes in the mask replace the folder's name.
        """
        drawn = None if mask is None else masks.image(Blob(mask), name)
        if name == GOOD:
            return self.sample(Blob(image), GOOD, drawn, split)
        if not masks.tell_classes:
            return self.sample(Blob(image), masks.classes.label([masks.classes.number(name)]), drawn, split)
        sample = self.sample(Blob(image), name, drawn, split)
        if drawn is not None:
            with suppress(DatasetError):  # reported when the annotation is drawn
                shown = masks.classes.label(drawn.numbers())
                return sample if shown == GOOD else replace(sample, picture_class=shown)
        return sample

    def dataset(
        self,
        classes: Sequence[str],
        samples: Sequence[Sample],
        expected: str,
        notes: Sequence[str] = (),
    ) -> Dataset:
        """Return the whole set.

        Raises DatasetError if it is empty, if groups.csv names a missing image, and as Dataset does.
        """
        missing = sorted(set(self.listed or ()) - {same_name(sample.name) for sample in samples})
        if missing:
            raise DatasetError(
                f"{self.root / GROUPS} names {missing[0]}, which is missing; copy it there or remove the line"
                + (f" ({len(missing)} such lines)" if len(missing) > 1 else "")
            )
        if not samples:
            raise DatasetError(f"{self.root} holds no images; they are expected as {expected}")
        return Dataset(tuple(classes), samples, tuple(notes))

    def _origin(self, name: str, group: str | None) -> Origin:
        if self.listed is None:
            return Origin(group or name, self.source)
        if same_name(name) not in self.listed:
            raise DatasetError(f"{self.root / GROUPS} names no group for {name}; add a line '{name},GROUP'")
        return self.listed[same_name(name)]


def read_groups(
    root: Path, labels: LabelsConfig, source: str | None = None, required: bool = False
) -> Groups:
    """Read `root/groups.csv`; without it, each image is its own group unless `required`.

    A line without a source gets the configured one, else `source`, else the folder's name, because the
    layout alone does not identify a public set. Raises DatasetError if the file is invalid, or missing
    while `required`.
    """
    path = root / GROUPS
    source = labels.source or source or root.resolve().name
    if not path.is_file():
        if not required:
            return Groups(root, source)
        raise DatasetError(
            f"{path} is missing; without groups the images of one tile would leak across a split. "
            "Write a CSV with the columns file,group"
        )
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a byte order mark
            heading = file.readline()
            file.seek(0)
            separator = max(",;\t", key=heading.count)  # spreadsheets use the separator of their locale
            return Groups(root, source, _parse(path, source, csv.DictReader(file, delimiter=separator)))
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 ({error}); save it as UTF-8") from error
    except csv.Error as error:
        raise DatasetError(f"{path} is no CSV ({error}); {CSV_FIX}") from error


def _ignores(annotation: Annotation | None) -> bool:
    """Whether an annotation holds ignored pixels; an unreadable one is reported by the audit."""
    if not isinstance(annotation, MaskImage | Layers):
        return False
    try:
        return IGNORED_NUMBER in annotation.numbers()
    except DatasetError:
        return False


def _parse(path: Path, source: str, rows: "csv.DictReader[str]") -> dict[str, Origin]:
    rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or ()]
    if not {"file", "group"} <= set(rows.fieldnames):
        raise DatasetError(f"{path} must have the columns file,group")
    origins: dict[str, Origin] = {}
    for row in rows:
        line, group = f"{path} line {rows.line_num}", row["group"]
        name = same_name((row["file"] or "").replace("\\", "/").removeprefix("./"))
        if not name or not group:
            raise DatasetError(f"{line} needs both a file and a group; found {name},{group or ''}")
        if name in origins and origins[name].group != group:
            raise DatasetError(
                f"{line} puts {name} into {group}, an earlier line into {origins[name].group}; keep one"
            )
        origins[name] = Origin(group, row.get("source") or source)
    return origins

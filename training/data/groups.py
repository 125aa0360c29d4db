"""Which images show one part: `groups.csv` at the root of a set, and the samples that it completes.

Columns `file` (the image's path below the root) and `group`; an optional third, `source`, names where a
image is from, for the model card. Images of one group never part in a split. Without the file each
image is its own group, unless the layout itself says which belong together.
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

UNKNOWN = "(unknown)"  # no class can be called so
GROUPS = "groups.csv"
CSV_FIX = "look for a quotation mark that is never closed"


class Origin(NamedTuple):
    """The group and the source of an image."""

    group: str
    source: str


@dataclass(frozen=True)
class Groups:
    """The root of a set, what its images are called as a source, and groups.csv where there is one."""

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
        """Return one sample, named by its path below the root; `group` is what the layout says, if anything.

        Raises DatasetError where groups.csv lacks the image.
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
        """Return one sample labelled by what its mask shows, like `sample`; this decodes the mask."""
        try:
            numbers = mask.numbers()
        except DatasetError as error:
            return replace(self.sample(image, UNKNOWN, mask, split, group), unlabelled=str(error))
        return self.sample(image, classes.label(numbers), mask, split, group)

    def in_folder(
        self, image: Path, name: str, mask: Path | None, masks: MaskSet, split: Published | None = None
    ) -> Sample:
        """Return one sample of the class that its folder names; masks that tell classes themselves say more.

        `name` may be GOOD.
        """
        drawn = None if mask is None else masks.image(Blob(mask), name)
        if name == GOOD:
            return self.sample(Blob(image), GOOD, drawn, split)
        if not masks.tell_classes:
            return self.sample(Blob(image), masks.classes.label([masks.classes.number(name)]), drawn, split)
        sample = self.sample(Blob(image), name, drawn, split)
        if drawn is not None:
            with suppress(DatasetError):  # the annotation says it where it is drawn
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

        Raises DatasetError if it is empty, groups.csv names a missing image, or as Dataset does.
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
    """Read `root/groups.csv`, if it is there or must be.

    Lines without a source mean that of the configuration, else `source`, else the folder's name: a layout
    alone makes no public set. Raises DatasetError where the file cannot be used.
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
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a byte order mark
            heading = file.readline()
            file.seek(0)
            separator = max(",;\t", key=heading.count)  # spreadsheets take that of their language
            return Groups(root, source, _parse(path, source, csv.DictReader(file, delimiter=separator)))
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 ({error}); save it as UTF-8") from error
    except csv.Error as error:
        raise DatasetError(f"{path} is no CSV ({error}); {CSV_FIX}") from error


def _ignores(annotation: Annotation | None) -> bool:
    """Whether an annotation holds pixels that count nowhere; one that cannot be read is for the audit."""
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

"""Reader of the Severstal steel strips: `train.csv` and `train_images/NAME.jpg` of 1600 x 256 px.

Source: Kaggle competition "Severstal: Steel Defect Detection", 2019. `train.csv` has the columns
ImageId, ClassId, EncodedPixels and one line per image and class that it shows; images without a line are
good. In its older form the columns are ImageId_ClassId (`NAME.jpg_1` to `NAME.jpg_4`) and EncodedPixels,
and each image has four lines. EncodedPixels is a run-length encoding `start length start length ...` in
column-major order, where the top left pixel is 1; it is empty if the class does not occur. Classes may
overlap. `test_images` has no labels and is not read.
"""

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from training.data.annotations import Layers, RunLengths
from training.data.classes import Classes, classes_of
from training.data.groups import CSV_FIX, Groups, read_groups
from training.data.listing import pictures, refuse_others, refuse_strays
from training.data.sample import Blob, Dataset, DatasetError, Sample
from training.labels import LabelsConfig

CLASSES = ("class_1", "class_2", "class_3", "class_4")  # the publishers give no names
TABLE, IMAGES = "train.csv", "train_images"

Marks = dict[str, dict[int, RunLengths]]  # image -> class number -> runs, which may be empty


def is_severstal(root: Path) -> bool:
    """Whether a folder has this layout."""
    return (root / TABLE).is_file() and (root / IMAGES).is_dir()


def read_severstal(root: Path, labels: LabelsConfig) -> Dataset:
    """Return every image of `train_images`; raises DatasetError for an invalid line of the table."""
    refuse_others(root, (IMAGES, "test_images"))
    marks, every_picture_listed = _read_table(root / TABLE)
    groups, classes = read_groups(root, labels), classes_of(CLASSES, labels)
    images = {path.name: path for path in pictures(root / IMAGES, (".jpg", ".png")).values()}
    missing = sorted(set(marks) - set(images))
    if missing:
        raise DatasetError(
            f"{root / TABLE} names {missing[0]}, which is missing; copy it to {IMAGES} or remove its lines"
        )
    if every_picture_listed:
        refuse_strays(
            images.values(), [images[name] for name in marks], f"has no line in {TABLE}; add its four"
        )
    samples = [_sample(groups, classes, image, marks.get(name, {})) for name, image in images.items()]
    return groups.dataset(classes.names, samples, f"{IMAGES}/NAME.jpg")


def _sample(groups: Groups, classes: Classes, image: Path, marks: dict[int, RunLengths]) -> Sample:
    shown = [
        replace(marks[number], number=classes.number(CLASSES[number - 1]))
        for number in sorted(marks)
        if marks[number].runs
    ]
    label = classes.label(each.number for each in shown)
    return groups.sample(Blob(image), label, Layers(tuple(shown), None, TABLE))


def _read_table(path: Path) -> tuple[Marks, bool]:
    """Return the runs of each image, and whether the table has the older form (lists every image)."""
    if not path.is_file():
        raise DatasetError(f"{path} is missing; the lines ImageId,ClassId,EncodedPixels are expected there")
    marks: Marks = defaultdict(dict)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            columns = set(rows.fieldnames or ())
            older = "ImageId_ClassId" in columns
            if not {"EncodedPixels", *(("ImageId_ClassId",) if older else ("ImageId", "ClassId"))} <= columns:
                raise DatasetError(f"{path} must have the columns ImageId,ClassId,EncodedPixels")
            for line, image, number, text in _lines(path, rows, older):
                if number in marks[image]:
                    raise DatasetError(f"{line} gives class {number} of {image} again; keep one line")
                marks[image][number] = RunLengths(number, _runs(text, line), line)
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 ({error}); save it as UTF-8") from error
    except csv.Error as error:
        raise DatasetError(f"{path} is no CSV ({error}); {CSV_FIX}") from error
    for image, found in marks.items():
        if older and len(found) != len(CLASSES):
            raise DatasetError(
                f"{path} has {len(found)} lines for {image}; this form has one for each of 4 classes"
            )
    return dict(marks), older


def _lines(path: Path, rows: "csv.DictReader[str]", older: bool) -> Iterator[tuple[str, str, int, str]]:
    """Yield the content of each line: its place for messages, image, class number, runs as text."""
    for row in rows:
        line = f"{path} line {rows.line_num}"
        if older:
            image, _, number = (row["ImageId_ClassId"] or "").rpartition("_")
        else:
            image, number = row["ImageId"] or "", row["ClassId"] or ""
        if not image or number not in ("1", "2", "3", "4"):
            raise DatasetError(f"{line} needs an image and a class from 1 to 4; found '{image}', '{number}'")
        yield line, image, int(number), row["EncodedPixels"] or ""


def _runs(text: str, line: str) -> tuple[tuple[int, int], ...]:
    """Parse `start length start length ...`, counted from 1, into sorted runs counted from 0."""
    try:
        values = [int(word) for word in text.split()]
    except ValueError as error:
        raise DatasetError(f"{line}: EncodedPixels must be whole numbers ({error})") from error
    if len(values) % 2:
        raise DatasetError(f"{line}: EncodedPixels holds {len(values)} numbers; each start needs its length")
    runs = sorted((start - 1, length) for start, length in zip(values[::2], values[1::2], strict=True))
    end = 0
    for start, length in runs:
        if start < 0 or length < 1:
            raise DatasetError(
                f"{line}: the run '{start + 1} {length}' is invalid; start and length must be 1 or more"
            )
        if start < end:
            raise DatasetError(
                f"{line}: the run '{start + 1} {length}' overlaps the one before it; join them"
            )
        end = start + length
    return tuple(runs)

"""Reader of YOLO segmentation as Ultralytics reads it.

Source: docs.ultralytics.com, "Instance Segmentation Datasets": `data.yaml` with `names`; for each image in a
folder `images` a text of the same name in `labels`; a line is a class number and the corners of a polygon
as shares of width and height. A line of four numbers is a box: centre, width, height.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import yaml

from app.inspection.rules.plain_yaml import PlainLoader
from training.data.exports.reading import Exported, Reading, in_place, size_of
from training.data.exports.shapes import Box, NoArea, Outline, Shape, pairs
from training.data.listing import is_picture, same_name, walk
from training.data.sample import DatasetError, Size

_OUTSIDE = 0.1  # how far beyond the image, as a share of its side, a corner may lie: augmented labels do


def read_yolo(reading: Reading) -> Iterator[Exported]:
    """Yield all images; one without a text, or with an empty one, is good."""
    names, pose = _names(reading)
    reading.declare(names.values())
    images = _texts(reading)
    used = {text for texts in images.values() for text in texts}
    stems = {same_name(path.stem).casefold() for path in images}
    for text in walk(reading.root):
        if text.suffix.lower() != ".txt" or text in used:
            continue
        if "labels" in [part.lower() for part in text.relative_to(reading.root).parts[:-1]]:
            reading.faults.add(f"{text} has no image; copy it to the folder images beside labels")
        elif same_name(text.stem).casefold() in stems:
            reading.faults.add(f"{text} has an image's name, but is in no folder labels; move it there")
    without = 0
    for path, texts in images.items():
        with reading.faults.collected():
            if not is_picture(path):
                raise DatasetError(f"{path} is of a format that is not read: convert it to PNG")
            size = size_of(path)
            found = next(iter(texts), None)
            without += found is None
            shapes = [] if found is None else list(_shapes(reading, found, names, size, pose))
            yield Exported(path, size, shapes, reading.split_of(path))
    reading.note(without, "images have no text of labels: they are taken as good")


def _texts(reading: Reading) -> dict[Path, list[Path]]:
    """The existing texts of each image; in another Unicode form or case only if no other image has them."""
    wanted = {path: _labels_of(path, reading.root) for path in reading.images.paths}
    exact = {path: [text for text in texts if text.is_file()] for path, texts in wanted.items()}
    taken = {text for texts in exact.values() for text in texts}
    free = {same_name(str(text)).casefold(): text for text in walk(reading.root) if text not in taken}
    for path, texts in wanted.items():
        keys = [same_name(str(text)).casefold() for text in texts]
        exact[path] = exact[path] or [free[key] for key in keys if key in free]
    return exact


def _names(reading: Reading) -> tuple[dict[int, str], bool]:
    """Class names by number, and whether keypoints follow each box."""
    found: dict[Path, tuple[dict[int, str], bool]] = {}
    for path in walk(reading.root):
        if path.suffix.lower() in (".yaml", ".yml"):
            try:
                content = yaml.load(path.read_text(encoding="utf-8-sig"), PlainLoader)
            except (yaml.YAMLError, UnicodeDecodeError) as error:
                raise DatasetError(f"{path} is no plain YAML ({error}); export it anew") from error
            if isinstance(content, dict) and "names" in content:
                given = content["names"]
                if not isinstance(given, (list, dict)):
                    raise DatasetError(f"{path}: names is no list of class names; write names: [{given}]")
                with in_place(f"{path}, names"):
                    pairs_ = given.items() if isinstance(given, dict) else enumerate(given)
                    names = {int(number): str(name) for number, name in pairs_}
                found[path] = names, "kpt_shape" in content
    if not found:
        raise DatasetError(
            f"{reading.root} holds no data.yaml with names, so nothing says what the class numbers mean; "
            "export it with the labels, or write one: names: [scratch, dent]"
        )
    if len({tuple(names.items()) for names, _ in found.values()}) > 1:
        raise DatasetError(f"{' and '.join(map(str, found))} give other names; import one export at a time")
    return next(iter(found.values()))


def _labels_of(image: Path, root: Path) -> list[Path]:
    """Where the text of an image may be: `labels` in place of the last folder `images`, or beside it."""
    parts = list(image.relative_to(root).parts)
    at = next((k for k in range(len(parts) - 2, -1, -1) if parts[k].lower() == "images"), None)
    beside = image.with_suffix(".txt")
    if at is None:
        return [beside, image.parent / "labels" / beside.name]
    folder = root.joinpath(*parts[:at])
    below = Path(*parts[at + 1 :]).with_suffix(".txt")
    return [folder / "labels" / below, folder / "Labels" / below, beside]


def _shapes(reading: Reading, text: Path, names: dict[int, str], size: Size, pose: bool) -> Iterator[Shape]:
    try:
        lines = text.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DatasetError(f"{text} is no text ({error}); export it anew") from error
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        with reading.faults.collected():
            if pose:
                yield NoArea("keypoints")
            else:
                yield _shape(f"{text} line {number}", words, names, size)


def _shape(where: str, words: list[str], names: dict[int, str], size: Size) -> Shape:
    with in_place(where):
        number, values = int(float(words[0])), [float(word) for word in words[1:]]
    if number not in names:
        raise DatasetError(f"{where}: no class has the number {number}; data.yaml names {len(names)}")
    if len(values) not in (4, 5) and (len(values) < 6 or len(values) % 2):
        raise DatasetError(f"{where}: {len(values)} numbers are neither a box (4) nor a polygon (6, 8, ...)")
    if not all(math.isfinite(v) and -_OUTSIDE <= v <= 1 + _OUTSIDE for v in values):
        raise DatasetError(f"{where}: a corner lies outside 0 to 1; YOLO gives shares of width and height")
    height, width = size
    if len(values) < 6:  # a fifth is the confidence of a prediction
        x, y, across, down = values[:4]
        left, top = (x - across / 2) * width, (y - down / 2) * height
        return Box(names[number], (left, top, left + across * width, top + down * height))
    return Outline(names[number], (tuple((x * width, y * height) for x, y in pairs(values)),))

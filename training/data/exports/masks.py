"""Readers of exports that hold masks of numbers, or of a defect or none: Roboflow, BTAD, brush PNGs.

Sources: docs.roboflow.com, "Semantic segmentation masks"; the BeanTech data set (BTAD); labelstud.io, "Brush
labels to NumPy and PNG".
"""

import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from training.data.exports.reading import Exported, Reading, in_place, size_of, values_of
from training.data.exports.shapes import Painted, Shape
from training.data.listing import MASK_SUFFIXES, is_picture, same_name, walk
from training.data.sample import DatasetError, Flags, Size

BACKGROUND = ("background", "_background_")  # classes that mean no defect
_TASKS = "tasks.csv"
_BRUSH = re.compile(r"task-(\d+)-annotation-(\d+)-by-.*?-tag-(.*)-\d+\.png")


def read_roboflow(reading: Reading) -> Iterator[Exported]:
    """Yield the images beside each `_classes.csv`, whose masks are called NAME_mask.png."""
    files = [path for path in walk(reading.root) if path.name.lower() == "_classes.csv"]
    if not files:
        raise DatasetError(f"{reading.root} holds no _classes.csv; export it as Semantic Segmentation Masks")
    for path in files:
        names = _classes_csv(path)
        reading.declare(name for name in names.values() if name.lower() not in BACKGROUND)
        beside = [each for each in path.parent.iterdir() if is_picture(each) and each.name[0] != "."]
        masks = {same_name(each.stem[:-5]): each for each in beside if each.stem.endswith("_mask")}
        images = {same_name(each.stem): each for each in beside if not each.stem.endswith("_mask")}
        for stem in sorted(set(masks) - set(images)):
            reading.faults.add(f"{masks[stem]} has no image {stem}; copy it there")
        for stem in sorted(images):
            with reading.faults.collected():
                if stem not in masks:
                    raise DatasetError(f"{images[stem]} has no mask {stem}_mask.png; export it anew")
                size = size_of(images[stem])
                shapes = _numbered(masks[stem], names, size)
                yield Exported(images[stem], size, shapes, reading.split_of(images[stem]))


def _classes_csv(path: Path) -> dict[int, str]:
    with in_place(str(path)), path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
        return {int(row[0]): row[1].strip() for row in rows[1:]}


def _numbered(mask: Path, names: Mapping[int, str], size: Size) -> list[Shape]:
    """One shape for each value of a mask above 0; raises DatasetError for one without a name."""
    shapes: list[Shape] = []
    for value in np.unique(_values(mask, size)).tolist():
        if value not in names and value:
            raise DatasetError(
                f"{mask} holds the value {value}, which _classes.csv does not name; add a line"
            )
        if value in names and names[value].lower() not in BACKGROUND:
            shapes.append(Painted(names[value], partial(_where_value, mask, value)))
    return shapes


def _values(mask: Path, size: Size) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The values of a mask [H, W], of the first channel where it has several."""
    if mask.suffix.lower() not in MASK_SUFFIXES:
        raise DatasetError(f"{mask} is no mask: JPEG and WebP change its values; export it as PNG")
    values = values_of(mask, size)
    if values.ndim == 3 and (values[..., 1:3] != values[..., :1]).any():
        raise DatasetError(f"{mask} is coloured, and _classes.csv names grey values; export it anew")
    return values if values.ndim == 2 else values[..., 0]


def _where_value(mask: Path, value: int, size: Size) -> Flags:
    return np.asarray(_values(mask, size) == value)


def _marked(mask: Path, size: Size) -> Flags:
    return np.asarray(values_of(mask, size, "L") > 127)


def read_btad(reading: Reading) -> Iterator[Exported]:
    """Yield the images of products: `train/ok`, `test/ok`, `test/ko` and `ground_truth/ko`."""
    folders: dict[Path, dict[str, Path]] = defaultdict(dict)
    for path in walk(reading.root):
        if path.suffix.lower() in MASK_SUFFIXES and path.parts[-3:-1] == ("ground_truth", "ko"):
            folders[path.parents[2]][same_name(path.stem)] = path
    if not folders:
        raise DatasetError(f"{reading.root} holds no ground_truth/ko; give BTAD or one of its products")
    reading.declare(["ko"])
    used: set[Path] = set()
    for image in reading.images.paths:
        part, kind = image.parts[-3:-1]
        masks = folders.get(image.parents[2], {})
        if part == "ground_truth" or kind not in ("ok", "ko") or not is_picture(image):
            continue
        with reading.faults.collected():
            mask = masks.get(same_name(image.stem)) if kind == "ko" else None
            if kind == "ko" and mask is None:
                raise DatasetError(f"{image} has no mask in ground_truth/ko; copy it there")
            used.update([mask] if mask else [])
            shapes = [Painted("ko", partial(_marked, mask))] if mask else []
            yield Exported(image, size_of(image), shapes, reading.split_of(image))
    for mask in sorted({each for masks in folders.values() for each in masks.values()} - used):
        reading.faults.add(f"{mask} has no image in test/ko; copy it there")


def read_brush_png(reading: Reading) -> Iterator[Exported]:
    """Yield the images of `tasks.csv` (task,file): nothing else says which image a task is of."""
    masks: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for path in walk(reading.root):
        if found := _BRUSH.fullmatch(path.name):
            masks[found[1]].append((found[3], path))
    table = reading.root / _TASKS
    if not table.is_file():
        raise DatasetError(
            f"{reading.root} names its masks after tasks, and nothing says which image a task is of: export "
            "the project as JSON, which holds the brush strokes too, and import it with --format "
            f"label-studio; or write {_TASKS} there with the columns task,file"
        )
    reading.declare(sorted({label for each in masks.values() for label, _ in each}))
    with in_place(str(table)), table.open(newline="", encoding="utf-8-sig") as file:
        files = {row["task"].strip(): row["file"] for row in csv.DictReader(file)}
    for task in sorted(set(masks) - set(files)):
        reading.faults.add(f"{table} has no line for task {task}; add it")
    for task, name in files.items():
        with reading.faults.collected():
            image = reading.images.find(table, name)
            shapes = [Painted(label, partial(_marked, mask)) for label, mask in masks.get(task, ())]
            yield Exported(image, size_of(image), shapes, reading.split_of(image))
    reading.note(len(set(files) - set(masks)), "tasks have no mask: their images are taken as good")

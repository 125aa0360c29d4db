"""Reader of Label Studio's JSON.

Source: labelstud.io, "Export annotations" and "Units of image annotations": coordinates are percent of
the image's width and height; a rectangle is turned clockwise around its first corner, an ellipse around
its centre.
"""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from training.data.exports.brush import brushed
from training.data.exports.reading import Exported, Reading, check_stated, in_place, read_json, size_of
from training.data.exports.shapes import NoArea, Outline, Painted, Shape, ellipse, rectangle, turned
from training.data.listing import GOOD_FOLDERS, PICTURE_SUFFIXES, UNREAD_SUFFIXES, walk
from training.data.sample import DatasetError, Size

_LOCAL = "?d="
_DRAWN = ("polygon", "rectangle", "ellipse", "brush")
_Json = dict[str, Any]


def read_label_studio(reading: Reading) -> Iterator[Exported]:
    """Yield the images of all tasks that somebody annotated; an annotation without a region means good."""
    files = [path for path in walk(reading.root) if path.suffix.lower() == ".json"]
    if not files:
        raise DatasetError(f"{reading.root} holds no JSON; export the project from Label Studio as JSON")
    said: Counter[str] = Counter()
    named = set[Path]()
    for path in files:
        content = read_json(path)
        for number, task in enumerate(content if isinstance(content, list) else [content]):
            with reading.faults.collected(), in_place(f"{path}, task {number + 1}"):
                if (exported := _exported(reading, path, task, said)) is not None:
                    named.add(exported.path)
                    yield exported
    reading.note_unnamed(named)
    for what, count in said.items():
        reading.note(count, what)


def _exported(reading: Reading, path: Path, task: Any, said: Counter[str]) -> Exported | None:
    """One task; None where nobody has annotated it."""
    if not isinstance(task, dict) or "data" not in task:
        raise DatasetError(
            f"{path} is not Label Studio's JSON with tasks (JSON-MIN lacks the sizes); export it as JSON"
        )
    where = f"{path}, task {task.get('id', '')}"
    if task.get("predictions"):
        said["tasks have predictions: these are not used, only annotations are"] += 1
    annotations: list[_Json] = task.get("annotations") or task.get("completions") or []
    valid = [each for each in annotations if not (each.get("was_cancelled") or each.get("skipped"))]
    if len(valid) < len(annotations):
        said["tasks have skipped (cancelled) annotations: these are left out"] += 1
    if not valid:
        said["tasks have no annotation: their images are left out, as nobody said what they show"] += 1
        return None
    truth = [each for each in valid if each.get("ground_truth")]
    if len(valid) > 1:
        said["tasks have several annotations: all their regions are taken, or those of the ground truth"] += 1
    found = reading.images.find(path, _name(task, where))
    size = size_of(found)
    regions = [region for each in truth or valid for region in _regions(each["result"])]
    shapes = [shape for region in regions for shape in _shapes(reading, region, size, where)]
    if not regions:
        said["images have an annotation without a region: they are taken as good"] += 1
    return Exported(found, size, shapes, reading.split_of(found))


def _name(task: _Json, where: str) -> str:
    """The name of the image of a task, without the query of a URL."""
    names = [name for value in task["data"].values() if (name := _image_name(value))]
    if len(set(names)) > 1:
        raise DatasetError(
            f"{where} names several images, {' and '.join(names)}; only tasks of one image each are read"
        )
    if name := next(iter(names), _image_name(task.get("file_upload"))):
        return name
    raise DatasetError(f"{where} names no image; only tasks of one image each are read")


def _image_name(value: Any) -> str | None:
    """A value of a task as the name of an image, if it is one."""
    if not isinstance(value, str):
        return None
    name = value if _LOCAL in value else value.partition("?")[0]
    return name if Path(name).suffix.lower() in (*PICTURE_SUFFIXES, *UNREAD_SUFFIXES) else None


def _regions(results: list[_Json]) -> list[_Json]:
    """The regions of an annotation; <Labels> beside <Polygon> writes the label into a result of its own."""
    if any(each["type"] in _DRAWN and not each.get("id") for each in results):
        raise ValueError("a region without labels of its own has no id")
    labelled = {each.get("id"): each["value"]["labels"] for each in results if each["type"] == "labels"}
    drawn = {each.get("id") for each in results if each["type"] in _DRAWN}
    return [
        {**each, "value": {**each["value"], "labels": labelled.get(each.get("id"), [])}}
        if each["type"] in _DRAWN
        else each
        for each in results
        if not (each["type"] == "labels" and each.get("id") in drawn)
        and each["type"] not in ("relation", "textarea", "rating", "number", "datetime", "taxonomy")
        and not (each["type"] in _DRAWN and _has_own_labels(each, results))
    ]


def _has_own_labels(region: _Json, results: list[_Json]) -> bool:
    """Whether a region is written a second time, with its labels, under the same id."""
    wanted = f"{region['type']}labels"
    return any(each["type"] == wanted and each.get("id") == region.get("id") for each in results)


def _shapes(reading: Reading, region: _Json, size: Size, where: str) -> Iterator[Shape]:
    kind = region["type"].removesuffix("labels")
    value = region["value"]
    if kind == "choices" and all(str(each).lower() in GOOD_FOLDERS for each in value["choices"]):
        return
    if kind not in _DRAWN:
        yield NoArea(kind or region["type"])
        return
    if region.get("original_width"):
        check_stated((region["original_height"], region["original_width"]), size, where)
    if region.get("image_rotation"):
        raise DatasetError(f"{where} was annotated on a rotated image; set its rotation to 0 in the tool")
    labels = value.get(region["type"]) or value.get("labels") or []
    if not labels:
        yield NoArea("region without a label")
    for label in labels:
        reading.declare([str(label)])
        yield _shape(kind, str(label), value, size, where)


def _shape(kind: str, label: str, value: _Json, size: Size, where: str) -> Shape:
    across, down = size[1] / 100, size[0] / 100  # pixels per percent
    if kind == "brush":
        if value.get("format", "rle") != "rle":
            raise DatasetError(f"{where}: brush strokes in the form {value['format']} are not read")
        return Painted(label, partial(brushed, value["rle"], where=where))
    if kind == "polygon":
        return Outline(label, (tuple((x * across, y * down) for x, y in value["points"]),))
    x, y, degrees = value["x"] * across, value["y"] * down, value.get("rotation") or 0
    if kind == "ellipse":
        return Outline(
            label, (ellipse((x, y), (value["radiusX"] * across, value["radiusY"] * down), degrees),)
        )
    corners = rectangle(x, y, x + value["width"] * across, y + value["height"] * down)
    return Outline(label, (turned(corners, degrees, (x, y)),))

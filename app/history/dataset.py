"""Reviewed inspections as a labelled data set, in the folder layout that `passline train` reads."""

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import RowMapping

from app.history.errors import DataSetNotWritten
from app.history.filters import Filters
from app.history.history import History
from app.inspection.decoding.decode import DecodeLimits, decode
from app.inspection.decoding.raw import RawFrame
from app.inspection.png_encode import png_bytes
from app.schemas.history import ReviewAnswer

GOOD = "good"
AS_IT_IS = frozenset({"png", "jpg", "bmp", "tif"})  # formats that training reads; others become PNG
NAMES = re.compile(r"[^A-Za-z0-9._-]")
IN_CSV = ("file", "group")


@dataclass(slots=True)
class Written:
    """What was written, and why reviewed inspections were left out."""

    good: int = 0
    defective: int = 0
    without_place: int = 0  # defective images of which nobody says where
    left_out: list[str] = field(default_factory=list)


def write_dataset(history: History, out: Path, filters: Filters, limits: DecodeLimits) -> Written:
    """Write every reviewed inspection that matches and whose image is kept into the new folder `out`.

    A review that says pass makes a good image. One that says fail makes a defective one: its own mask
    counts, else the mask of the inspection if that found the same classes, else only the class is known.
    Images of one `part_id` are one group, so that training never tests on a part that it was fitted to.

    Raises DataSetNotWritten if `out` exists already or cannot be written, or if bundles of the images have
    different classes; raises DatabaseUnusable.
    """
    written, groups = Written(), [IN_CSV]
    reviewed = [row.id for row in history.store.all(filters.reviewed_only())]
    if not reviewed:
        raise DataSetNotWritten("no inspection that matches has been reviewed; there is nothing to write")
    classes = _classes(history, reviewed)
    try:
        out.mkdir(parents=True)
        for id in reversed(reviewed):  # oldest first
            groups += _write_one(history, id, out, limits, written)
        (out / "classes.txt").write_text("".join(f"{name}\n" for name in classes))
        with (out / "groups.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(groups)
    except OSError as error:
        raise DataSetNotWritten(f"{out} cannot be written: {error.strerror}") from error
    return written


def _classes(history: History, ids: list[str]) -> list[str]:
    lists = {history.store.columns(id)["class_names"] for id in ids}
    if len(lists) > 1:
        shown = "; ".join(", ".join(json.loads(each)) for each in sorted(lists))
        raise DataSetNotWritten(f"the images were inspected by bundles with different classes ({shown})")
    names: list[str] = json.loads(lists.pop())
    return names


def _write_one(
    history: History, id: str, out: Path, limits: DecodeLimits, written: Written
) -> Iterator[tuple[str, str]]:
    columns, review = history.store.columns(id), history.store.detail(id).row.review
    image = None if columns["image_file"] is None else history.files.get(columns["image_file"])
    if image is None or review is None:
        written.left_out.append(f"{id}: its image is not kept")
        return
    place, mask = _label_of(history, columns, review)
    if place is None:
        written.left_out.append(f"{id}: the review says fail and names no class")
        return
    ending, content = _as_file(columns, image, limits)
    name = f"{place}/{id}.{ending}"
    _put(out / name, content)
    if mask is not None:
        _put(out / "masks" / place.partition("/")[2] / f"{id}.png", mask)
    written.good += place == GOOD
    written.defective += place != GOOD
    written.without_place += place != GOOD and mask is None
    yield name, NAMES.sub("_", columns["part_id"] or id)


def _label_of(history: History, columns: RowMapping, review: ReviewAnswer) -> tuple[str | None, bytes | None]:
    """The folder of the image, and the mask that is sure, if any."""
    if review.verdict == "pass":
        return GOOD, None
    file = history.store.mask_file_of(review.number)
    mask = None if file is None else history.files.get(file)
    found = set(history.store.detail(columns["id"]).row.classes)
    if mask is None and columns["mask_file"] is not None and found and set(review.classes) <= found:
        mask = history.files.get(columns["mask_file"])
    names = review.classes or tuple(sorted(found))
    return (None, None) if not names else (f"defect/{names[0]}", mask)


def _as_file(columns: RowMapping, image: bytes, limits: DecodeLimits) -> tuple[str, bytes]:
    ending = columns["image_file"].rpartition(".")[2]
    if ending in AS_IT_IS and columns["significant_bits"] is None:
        return ending, image
    data: bytes | RawFrame = image
    if columns["pixel_format"] is not None:
        size = columns["width"], columns["height"]
        data = RawFrame(image, *size, columns["pixel_format"], columns["stride"])
    pixels = decode(data, limits, significant_bits=columns["significant_bits"])
    return "png", png_bytes(pixels if pixels.ndim == 2 else pixels[..., ::-1])


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

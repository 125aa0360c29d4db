"""Check the chain of hashes and the files: what was changed or removed since it was written."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from sqlalchemy import RowMapping, select

from app.database.connection import Database
from app.database.tables import CHAIN_STARTS, INSPECTIONS
from app.history.chain import FIRST, chained
from app.history.files import ImageFiles

AT_ONCE = 1000
C = INSPECTIONS.c


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written; `id` is None for rows that are gone."""

    box: str
    position: int
    id: str | None
    what: str


@dataclass(slots=True)
class Checked:
    """How much was checked, and the last position and hash of each box.

    Somebody who notes these elsewhere can tell later whether rows at the end were cut off.
    """

    rows: int = 0
    files: int = 0
    heads: dict[str, tuple[int, str]] | None = None


def verify(database: Database, files: ImageFiles, checked: Checked) -> Iterator[Finding]:
    """Yield what was changed or removed; `checked` is filled meanwhile. Raises DatabaseUnusable."""
    checked.heads = {}
    with database.reading() as connection:
        boxes = [box for (box,) in connection.execute(select(C.box).distinct().order_by(C.box))]
    for box in boxes:
        yield from _verify_box(database, files, checked, box)


def _verify_box(database: Database, files: ImageFiles, checked: Checked, box: str) -> Iterator[Finding]:
    starts = _starts(database, box)
    position, before = 0, FIRST
    for row in _rows(database, box):
        if row["position"] != position + 1:
            deleted = row["position"] - 1
            if deleted in starts and not _is_there(database, box, position):
                # by retention, which notes the last hash and deletes all rows before it
                before = starts[deleted]
            else:
                yield Finding(box, position + 1, None, f"rows {position + 1} to {deleted} were removed")
                before = ""
        position = row["position"]
        if before and chained(before, row) != row["hash"]:
            yield Finding(box, position, row["id"], "the row was changed")
        before = row["hash"]
        checked.rows += 1
        for what in _changed_files(files, row, checked):
            yield Finding(box, position, row["id"], what)
    assert checked.heads is not None
    checked.heads[box] = (position, before)


def _is_there(database: Database, box: str, position: int) -> bool:
    """Whether a row is still there; retention may have deleted it meanwhile."""
    with database.reading() as connection:
        same = select(C.seq).where(C.box == box, C.position == position)
        return connection.scalar(same) is not None


def _starts(database: Database, box: str) -> dict[int, str]:
    statement = select(CHAIN_STARTS.c.position, CHAIN_STARTS.c.hash).where(CHAIN_STARTS.c.box == box)
    with database.reading() as connection:
        return {start.position: start.hash for start in connection.execute(statement)}


def _rows(database: Database, box: str) -> Iterator[RowMapping]:
    """Every row of a box in the order of the chain, read a few at a time."""
    position = 0
    while True:
        following = select(INSPECTIONS).where(C.box == box, C.position > position).order_by(C.position)
        with database.reading() as connection:
            rows = connection.execute(following.limit(AT_ONCE)).mappings().all()
        yield from rows
        if not rows:
            return
        position = rows[-1]["position"]


def _changed_files(files: ImageFiles, row: RowMapping, checked: Checked) -> Iterator[str]:
    if row["image_file"] is not None:
        checked.files += 1
        content = files.get(row["image_file"])
        if content is None:
            yield f"its image {row['image_file']} is missing"
        elif hashlib.sha256(content).hexdigest() != row["image_sha256"]:
            yield f"its image {row['image_file']} was changed"
    if row["mask_file"] is not None:
        checked.files += 1
        content = files.get(row["mask_file"])
        if content is None:
            yield f"its mask {row['mask_file']} is missing"
        elif mask_hash(content) != row["mask_sha256"]:
            yield f"its mask {row['mask_file']} was changed"


def mask_hash(png: bytes) -> str | None:
    """The SHA-256 of a label map's pixels, uint8, row by row; None if it cannot be read."""
    label_map = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    return None if label_map is None else hashlib.sha256(label_map.tobytes()).hexdigest()

"""Retention: what is deleted when it is too old, or when images or the disk have no more room.

Images and masks go first, those of passes before others; rows go from the oldest on, so that the rest of a
chain of hashes stays whole. Counts by hour are never deleted.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, RowMapping, func, select

from app.database.connection import Database, free_bytes
from app.database.tables import CHAIN_STARTS, CLAIMS, INSPECTIONS, REVIEWS
from app.database.times import DAY_US, now_us
from app.history.boxes import own_box
from app.history.files import FolderFiles, ImageFiles

AT_ONCE = 100  # rows of one transaction: the writer waits for no more
REUSABLE_BYTES = 64 << 20  # room that deleted rows leave in SQLite's file, which never shrinks
C = INSPECTIONS.c
KEPT = C.image_file.is_not(None)
# What goes first where there is no more room.
ORDER = (
    (C.verdict == "pass") & C.reviewed.is_(False),
    (C.verdict != "pass") & C.reviewed.is_(False),
    C.reviewed.is_(True),
)
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how much is kept; None: no limit."""

    days_pass: int | None  # images of passes
    days_fail: int | None  # images of fails and reviews
    days_rows: int | None  # rows, with everything that belongs to them
    max_bytes: int | None  # images and masks together
    min_free_bytes: int  # on the disk of `folder`


@dataclass(slots=True)
class Deleted:
    """What was deleted: images (each with its mask) and rows."""

    images: int = 0
    rows: int = 0


class Retention:
    """Deletes what the limits no longer keep, of one box; use it from one thread."""

    def __init__(self, database: Database, files: ImageFiles, folder: Path, limits: Limits) -> None:
        self._database = database
        self._files = files
        self._folder = folder
        self._limits = limits
        self.deleted = Deleted()  # since it was made

    def run(self, box: str | None, rest: Callable[[], bool] = lambda: True) -> Deleted:
        """Delete what has to go; raises DatabaseUnusable.

        `rest` is called after each small step and may take its time; False from it ends the work early.
        """
        before = Deleted(self.deleted.images, self.deleted.rows)
        steps = self._steps(box or self._own_box())
        while next(steps, None) is not None and rest():
            pass
        done = Deleted(self.deleted.images - before.images, self.deleted.rows - before.rows)
        if done != Deleted():
            log.info("history pruned", extra={"images": done.images, "rows": done.rows})
        return done

    def _steps(self, box: str) -> Iterator[int]:
        yield from self._old_images(box)
        if self._limits.days_rows is not None:
            yield from self._rows_before(box, now_us() - self._limits.days_rows * DAY_US)
        for condition in ORDER:
            while self._lacks_room(box) and (gone := self._delete_images(box, condition)):
                yield gone
        while self._lacks_disk() and self._reusable() < REUSABLE_BYTES:
            gone = self._delete_rows(box, now_us())
            if not gone:
                return
            yield gone

    def _old_images(self, box: str) -> Iterator[int]:
        for of_verdict, days in (
            (C.verdict == "pass", self._limits.days_pass),
            (C.verdict != "pass", self._limits.days_fail),
        ):
            if days is not None:
                is_old = of_verdict & (C.time_us < now_us() - days * DAY_US)
                while gone := self._delete_images(box, is_old):
                    yield gone

    def _rows_before(self, box: str, time_us: int) -> Iterator[int]:
        while gone := self._delete_rows(box, time_us):
            yield gone

    def _lacks_room(self, box: str) -> bool:
        if isinstance(self._files, FolderFiles) and self._lacks_disk():
            return True
        if self._limits.max_bytes is None:
            return False
        total = select(func.coalesce(func.sum(C.stored_bytes), 0)).where(C.box == box, KEPT)
        with self._database.reading() as connection:
            return int(connection.scalar(total) or 0) > self._limits.max_bytes

    def _lacks_disk(self) -> bool:
        return free_bytes(self._folder) < self._limits.min_free_bytes

    def _reusable(self) -> float:
        """Bytes that new rows can take without more disk; endless on a server, whose disk is not ours."""
        if not self._database.is_sqlite:
            return float("inf")
        with self._database.reading() as connection:
            pages = connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()
            return int(pages) * int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())

    def _delete_images(self, box: str, condition: ColumnElement[bool]) -> int:
        """Delete the oldest few images that match, with their masks; the number."""
        oldest = (
            select(C.seq, C.image_file, C.mask_file)
            .where(C.box == box, KEPT, condition)
            .order_by(C.time_us)
            .limit(AT_ONCE)
        )
        with self._database.reading() as connection:
            rows = connection.execute(oldest).mappings().all()
        if not rows:
            return 0
        with self._database.transaction() as connection:
            connection.execute(
                INSPECTIONS.update()
                .where(C.seq.in_([row["seq"] for row in rows]))
                .values(image_file=None, mask_file=None, stored_bytes=None)
            )
        # Only now: a row never names a file that retention has deleted. A crash here leaves files of no row.
        self._delete_files(rows)
        self.deleted.images += len(rows)
        return len(rows)

    def _delete_rows(self, box: str, before_us: int) -> int:
        """Delete the oldest few rows of the chain, if they are older, and all that belongs to them."""
        columns = (C.position, C.hash, C.id, C.time_us, C.image_file, C.mask_file)
        first = select(*columns).where(C.box == box).order_by(C.position).limit(AT_ONCE)
        with self._database.reading() as connection:
            found = connection.execute(first).mappings().all()
        end = next((number for number, row in enumerate(found) if row["time_us"] >= before_us), len(found))
        rows = found[:end]
        if not rows:
            return 0
        with self._database.transaction() as connection:
            masks = _delete_chain(connection, box, rows)
        self._delete_files([*rows, *masks])
        self.deleted.rows += len(rows)
        return len(rows)

    def _delete_files(self, rows: Sequence[RowMapping]) -> None:
        for row in rows:
            for column in ("image_file", "mask_file"):
                if row.get(column) is not None:
                    self._files.delete(row[column])

    def _own_box(self) -> str:
        with self._database.transaction() as connection:
            return own_box(connection)


def _delete_chain(connection: Connection, box: str, rows: Sequence[RowMapping]) -> Sequence[RowMapping]:
    """Delete the first rows of a chain, and note where it begins from now on; the masks of their reviews."""
    last, ids = rows[-1], [row["id"] for row in rows]
    of_rows = REVIEWS.c.inspection_id.in_(ids)
    masks = connection.execute(select(REVIEWS.c.mask_file).where(of_rows)).mappings().all()
    connection.execute(REVIEWS.delete().where(of_rows))
    connection.execute(CLAIMS.delete().where(CLAIMS.c.inspection_id.in_(ids)))
    connection.execute(CHAIN_STARTS.delete().where(CHAIN_STARTS.c.box == box))
    connection.execute(
        CHAIN_STARTS.insert().values(box=box, position=last["position"], hash=last["hash"], time_us=now_us())
    )
    connection.execute(INSPECTIONS.delete().where(C.box == box, C.position <= last["position"]))
    return masks

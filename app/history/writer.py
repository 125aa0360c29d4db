"""One thread that writes records: all that wait at a moment are committed together (group commit)."""

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import sqlalchemy
from sqlalchemy import Connection

from app.database.connection import Database
from app.database.errors import DatabaseUnusable
from app.database.tables import CHAIN_STARTS, INSPECTION_CLASSES, INSPECTIONS, THUMBNAILS
from app.history.boxes import own_box
from app.history.chain import FIRST, chained
from app.history.hourly import add_to_hours
from app.history.record import Record

AT_ONCE = 64  # records of one transaction
Committed = Sequence[Mapping[str, Any]]  # columns of the rows, with `seq`
log = logging.getLogger(__name__)


class Writer:
    """Writes records in the order they are given; each gets its place in the chain of `box`."""

    def __init__(self, database: Database, box: str | None, waiting: int) -> None:
        """At most `waiting` records wait. Without `box`, the database's own name is used."""
        self._database = database
        self._box = box
        self._last: tuple[int, str] | None = None  # position and hash; None: to be read
        self._queue: queue.Queue[tuple[Record, Future[int]] | None] = queue.Queue(waiting)
        self.on_committed: list[Callable[[Committed], None]] = []
        self.error: str | None = None  # of the last transaction
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    def keep(self, record: Record) -> "Future[int]":
        """The `seq` of a record once it is stored, or DatabaseUnusable.

        Raises DatabaseUnusable at once if too many records wait. `on_committed` is called on the writer's
        thread after each transaction.
        """
        stored: Future[int] = Future()
        try:
            self._queue.put_nowait((record, stored))
        except queue.Full:
            raise DatabaseUnusable("more records wait for the database than it can store") from None
        return stored

    def close(self) -> None:
        """Write what waits, and end; blocks."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, ended = [first], False
            while len(batch) < AT_ONCE:
                try:
                    each = self._queue.get_nowait()
                except queue.Empty:
                    break
                if each is None:
                    ended = True
                    break
                batch.append(each)
            self._write(batch)
            if ended:
                return

    def _write(self, batch: "list[tuple[Record, Future[int]]]") -> None:
        try:
            with self._database.transaction() as connection:
                rows, last = self._insert(connection, [record for record, _ in batch])
        except DatabaseUnusable as error:
            self._last = None  # another process may have written meanwhile
            self.error = str(error)
            log.error("inspections cannot be stored", extra={"code": error.code, "reason": str(error)})
            for _, stored in batch:
                stored.set_exception(error)
            return
        self._last, self.error = last, None
        for row, (_, stored) in zip(rows, batch, strict=True):
            stored.set_result(row["seq"])
        for listener in self.on_committed:
            listener(rows)

    def _insert(
        self, connection: Connection, records: Sequence[Record]
    ) -> tuple[list[dict[str, Any]], tuple[int, str]]:
        box = self._box = self._box or own_box(connection)
        position, before = self._last or _last_of(connection, box)
        rows: list[dict[str, Any]] = []
        for record in records:
            position += 1
            columns = {**record.columns, "box": box, "position": position}
            before = chained(before, columns)
            rows.append(columns | {"hash": before})
        inserted = connection.execute(
            INSPECTIONS.insert().returning(INSPECTIONS.c.seq, sort_by_parameter_order=True), rows
        )
        for row, (seq,) in zip(rows, inserted, strict=True):
            row["seq"] = seq
        pairs = list(zip(rows, records, strict=True))
        connection.execute(
            THUMBNAILS.insert(), [{"seq": row["seq"], "jpeg": record.thumbnail} for row, record in pairs]
        )
        classes = [
            {"seq": row["seq"], "time_us": row["time_us"], "class_name": name, "count": count}
            for row, record in pairs
            for name, count in record.classes.items()
        ]
        if classes:
            connection.execute(INSPECTION_CLASSES.insert(), classes)
        add_to_hours(connection, [(row, record.classes) for row, record in pairs])
        return rows, (position, before)


def _last_of(connection: Connection, box: str) -> tuple[int, str]:
    """Position and hash of the last row of a box; also where old rows have been deleted."""
    last = connection.execute(
        sqlalchemy.select(INSPECTIONS.c.position, INSPECTIONS.c.hash)
        .where(INSPECTIONS.c.box == box)
        .order_by(INSPECTIONS.c.position.desc())
        .limit(1)
    ).first()
    if last is None:
        last = connection.execute(
            sqlalchemy.select(CHAIN_STARTS.c.position, CHAIN_STARTS.c.hash)
            .where(CHAIN_STARTS.c.box == box)
            .order_by(CHAIN_STARTS.c.position.desc())
            .limit(1)
        ).first()
    return (0, FIRST) if last is None else (last.position, last.hash)

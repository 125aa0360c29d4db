"""Queries on the inspections that are kept; each blocks, so call it on a thread."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from app.database.connection import Database
from app.database.tables import INSPECTION_CLASSES, INSPECTIONS, REVIEWS, THUMBNAILS
from app.history.errors import InspectionNotFound
from app.history.filters import Filters, cursor_of
from app.history.pages import page_rows
from app.history.rows import detail_of, row_of
from app.schemas.history import InspectionDetail, InspectionsPage, Row

C = INSPECTIONS.c
AT_ONCE = 500  # rows read together in an export


class HistoryStore:
    """Reads the history; any thread may use it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, filters: Filters, cursor: str | None, limit: int) -> InspectionsPage:
        """Rows that match, newest first; raises RequestInvalid (the cursor) or DatabaseUnusable."""
        with self._database.reading() as connection:
            rows = page_rows(connection, filters, cursor, limit + 1)
            more = len(rows) > limit
            items = _complete(connection, rows[:limit])
        last = rows[limit - 1] if more else None
        return InspectionsPage(
            items=items, next=None if last is None else cursor_of(last["time_us"], last["seq"])
        )

    def all(self, filters: Filters) -> Iterator[Row]:
        """Every row that matches, newest first, read a few at a time."""
        cursor: str | None = None
        while True:
            page = self.page(filters, cursor, AT_ONCE)
            yield from page.items
            cursor = page.next
            if cursor is None:
                return

    def rows(self, connection: Connection, ids: Sequence[str]) -> list[Row]:
        """The rows with these ids, newest first."""
        return _complete(connection, page_rows(connection, Filters(ids=tuple(ids)), None, len(ids)))

    def columns(self, id: str) -> RowMapping:
        """Every column of one inspection; raises InspectionNotFound or DatabaseUnusable."""
        with self._database.reading() as connection:
            return _columns(connection, id)

    def detail(self, id: str) -> InspectionDetail:
        """Everything that is kept of one inspection; raises InspectionNotFound or DatabaseUnusable."""
        with self._database.reading() as connection:
            columns = _columns(connection, id)
            classes, reviews = _of_rows(connection, [columns])
        return detail_of(columns, classes[columns["seq"]], reviews[id])

    def mask_file_of(self, review: int) -> str | None:
        """The file of a review's own mask; None if it has none. Raises DatabaseUnusable."""
        with self._database.reading() as connection:
            found: str | None = connection.scalar(
                select(REVIEWS.c.mask_file).where(REVIEWS.c.number == review)
            )
        return found

    def thumbnail(self, id: str) -> bytes:
        """The JPEG; raises InspectionNotFound or DatabaseUnusable."""
        statement = select(THUMBNAILS.c.jpeg).join(INSPECTIONS, C.seq == THUMBNAILS.c.seq).where(C.id == id)
        with self._database.reading() as connection:
            jpeg: bytes | None = connection.scalar(statement)
        if jpeg is None:
            raise InspectionNotFound(id)
        return jpeg


def _columns(connection: Connection, id: str) -> RowMapping:
    found = connection.execute(select(INSPECTIONS).where(C.id == id)).mappings().first()
    if found is None:
        raise InspectionNotFound(id)
    return found


def _complete(connection: Connection, rows: Sequence[RowMapping]) -> list[Row]:
    classes, reviews = _of_rows(connection, rows)
    return [row_of(row, classes[row["seq"]], reviews[row["id"]]) for row in rows]


def _of_rows(
    connection: Connection, rows: Sequence[RowMapping]
) -> tuple[dict[int, list[str]], dict[str, list[RowMapping]]]:
    """Defect classes by `seq`, and reviews by inspection, oldest first."""
    classes: dict[int, list[str]] = defaultdict(list)
    reviews: dict[str, list[Any]] = defaultdict(list)
    if not rows:
        return classes, reviews
    in_rows = INSPECTION_CLASSES.c.seq.in_([row["seq"] for row in rows])
    for seq, name in connection.execute(
        select(INSPECTION_CLASSES.c.seq, INSPECTION_CLASSES.c.class_name)
        .where(in_rows)
        .order_by(INSPECTION_CLASSES.c.class_name)
    ):
        classes[seq].append(name)
    of_rows = REVIEWS.c.inspection_id.in_([row["id"] for row in rows])
    for review in connection.execute(select(REVIEWS).where(of_rows).order_by(REVIEWS.c.number)).mappings():
        reviews[review["inspection_id"]].append(review)
    return classes, reviews

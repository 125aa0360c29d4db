"""The rows of one page, found in a way whose time does not grow with the history.

Databases guess how many rows a condition matches, and SQLite has nothing to guess from. So a few entries of
an index are counted first.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select

from app.database.tables import INSPECTIONS
from app.history.filters import Filters, Selection, before
from app.history.rows import IN_ROW

FEW = 5_000  # rows that can be read and sorted within the time of a page
MANY = 50_000  # entries of an index that can be
C = INSPECTIONS.c


def page_rows(
    connection: Connection, filters: Filters, cursor: str | None, limit: int
) -> Sequence[RowMapping]:
    """The newest rows that match and follow the cursor; raises RequestInvalid (the cursor)."""
    selections = list(filters.selections())
    if len(selections) == 1:
        (only,) = selections
        if only.is_ordered or _count(connection, only, MANY) < MANY:
            return _rows_of_one(connection, only, cursor, limit)
    source: Any = INSPECTIONS
    if (rarest := _rarest(connection, selections)) is not None:
        keys = rarest.keys.subquery()
        few = select(*(C[name] for name in IN_ROW), C.reviewed).where(C.seq.in_(select(keys.c.seq)))
        # The limit keeps the database from walking all rows by time instead, in search of these.
        source = few.limit(FEW).subquery()
    statement = select(*(source.c[name] for name in IN_ROW)).where(*filters.conditions(source.c))
    if cursor is not None:
        statement = statement.where(before(cursor, source.c))
    newest_first = statement.order_by(source.c.time_us.desc(), source.c.seq.desc()).limit(limit)
    return connection.execute(newest_first).mappings().all()


def _rows_of_one(
    connection: Connection, selection: Selection, cursor: str | None, limit: int
) -> Sequence[RowMapping]:
    """The page where there is one condition: its keys first, by an index alone, then their rows."""
    keys, columns = selection.keys, selection.keys.selected_columns
    if cursor is not None:
        keys = keys.where(before(cursor, columns))
    if not selection.is_ordered:
        keys = keys.distinct()
    newest = keys.order_by(columns.time_us.desc(), columns.seq.desc()).limit(limit).subquery()
    statement = select(*(C[name] for name in IN_ROW)).where(C.seq.in_(select(newest.c.seq)))
    return connection.execute(statement.order_by(C.time_us.desc(), C.seq.desc())).mappings().all()


def _rarest(connection: Connection, selections: Sequence[Selection]) -> Selection | None:
    """The condition that the fewest rows match; None if each is matched by many."""
    found, fewest = None, FEW
    for selection in selections:
        count = _count(connection, selection, fewest)
        if count < fewest:
            found, fewest = selection, count
        if count == 0:
            break
    return found


def _count(connection: Connection, selection: Selection, most: int) -> int:
    """How many rows match, counted up to `most`."""
    some = selection.keys.limit(most).subquery()
    return connection.scalar(select(func.count()).select_from(some)) or 0

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
MANY = 20_000  # entries of an index that can be
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
    rarest, count = _rarest(connection, selections)
    is_sorted = False
    if rarest is not None:
        is_sorted = count >= FEW and rarest.is_ordered and not rarest.of_classes
        source = _matching(rarest, is_sorted)
    statement = select(*(source.c[name] for name in IN_ROW)).where(*filters.conditions(source.c))
    if cursor is not None:
        statement = statement.where(before(cursor, source.c))
    if not is_sorted:
        statement = statement.order_by(source.c.time_us.desc(), source.c.seq.desc())
    return connection.execute(statement.limit(limit)).mappings().all()


def _matching(rarest: Selection, is_sorted: bool) -> Any:
    """The rows of the rarest condition; the limit keeps the database from choosing another index for them.

    Sorted ones are read one by one, newest first, until the page is full: both databases keep the order of
    such a subquery.
    """
    keys = rarest.keys.subquery()
    columns = (*(C[name] for name in IN_ROW), C.reviewed)
    if not is_sorted:
        return select(*columns).where(C.seq.in_(select(keys.c.seq))).limit(MANY).subquery()
    rows = rarest.keys.with_only_columns(*columns)
    return rows.order_by(C.time_us.desc(), C.seq.desc()).limit(MANY).subquery()


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


def _rarest(connection: Connection, selections: Sequence[Selection]) -> tuple[Selection | None, int]:
    """The condition that the fewest rows match, and how many; None if each is matched by many."""
    found, fewest = None, MANY
    for selection in selections:
        count = _count(connection, selection, fewest)
        if count < fewest:
            found, fewest = selection, count
        if count == 0:
            break
    return found, fewest


def _count(connection: Connection, selection: Selection, most: int) -> int:
    """How many rows match, counted up to `most`."""
    some = selection.keys.limit(most).subquery()
    return connection.scalar(select(func.count()).select_from(some)) or 0

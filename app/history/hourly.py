"""Counts by hour, kept with each row, so that statistics over years need not read every row."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from app.database.tables import HOURLY, HOURLY_CLASSES
from app.database.times import HOUR_US

NONE = ""  # in the place of a camera that is not named: a primary key has no NULL


def add_to_hours(connection: Connection, rows: Sequence[tuple[Mapping[str, Any], Mapping[str, int]]]) -> None:
    """Count rows, each with its number of defects by class."""
    counts: Counter[tuple[Any, ...]] = Counter()
    spent: Counter[tuple[Any, ...]] = Counter()
    classes: Counter[tuple[Any, ...]] = Counter()
    for row, defects in rows:
        place = (row["time_us"] // HOUR_US * HOUR_US, row["camera_id"] or NONE, row["recipe"])
        key = (*place, f"{row['bundle']}/{row['bundle_version']}", row["verdict"])
        counts[key] += 1
        spent[key] += row["total_ms"]
        classes.update((*place, name) for name in defects)
    keys = [column.name for column in HOURLY.primary_key]
    _add(
        connection,
        HOURLY,
        [
            dict(zip(keys, key, strict=True)) | {"count": n, "total_ms": spent[key]}
            for key, n in counts.items()
        ],
    )
    keys = [column.name for column in HOURLY_CLASSES.primary_key]
    _add(
        connection,
        HOURLY_CLASSES,
        [dict(zip(keys, key, strict=True)) | {"count": n} for key, n in classes.items()],
    )


def _add(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; those that are there already have their other columns increased."""
    if not rows:
        return
    insert: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table)
    added = {
        column.name: column + statement.excluded[column.name]
        for column in table.columns
        if not column.primary_key
    }
    connection.execute(
        statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=added), list(rows)
    )

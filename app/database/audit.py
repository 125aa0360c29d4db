"""The audit log: who changed what, when, from what to what."""

import json
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy
from sqlalchemy import Connection

from app.database.connection import Database
from app.database.tables import AUDIT
from app.database.times import from_us, now_us


@dataclass(frozen=True, slots=True)
class Entry:
    """One change; `before` and `after` are stored as JSON.

    `action` is a kind of thing and a verb, such as `review.add`; `object` names the thing.
    """

    who: str
    action: str
    object: str
    before: Any = None
    after: Any = None
    why: str | None = None


def add(connection: Connection, entry: Entry) -> None:
    """Add an entry, in the transaction of the change itself."""
    values = {field.name: getattr(entry, field.name) for field in fields(entry)}
    for name in ("before", "after"):
        values[name] = None if values[name] is None else json.dumps(values[name])
    connection.execute(AUDIT.insert().values(time_us=now_us(), **values))


def record(
    connection: Connection, who: str, action: str, object: str, *, before: Any = None, after: Any = None
) -> None:
    """Add an entry without a reason."""
    add(connection, Entry(who, action, object, before, after))


def page(database: Database, before: int | None, limit: int) -> tuple[list[dict[str, Any]], int | None]:
    """Entries from the newest on, below the number `before`, and the `before` of the next page.

    Raises DatabaseUnusable.
    """
    wanted = sqlalchemy.select(AUDIT).order_by(AUDIT.c.number.desc()).limit(limit + 1)
    if before is not None:
        wanted = wanted.where(AUDIT.c.number < before)
    with database.reading() as connection:
        rows = [dict(row) for row in connection.execute(wanted).mappings()]
    entries = [_entry(row) for row in rows[:limit]]
    return entries, entries[-1]["number"] if len(rows) > limit else None


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    parsed = {name: None if row[name] is None else json.loads(row[name]) for name in ("before", "after")}
    when = from_us(row.pop("time_us"))
    return row | parsed | {"time": when}

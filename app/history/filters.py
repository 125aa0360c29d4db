"""Filters of lists of inspections, and the cursor of their pages."""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, func, or_, select, tuple_, union_all

from app.database.tables import INSPECTION_CLASSES, INSPECTIONS
from app.database.times import to_us
from app.errors import RequestInvalid, WrongField

AFTER_ALL = "\U0010ffff"  # sorts after every text that begins alike
Columns = Any  # of a table or a subquery, by their names
C = INSPECTIONS.c


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows that match one condition: their `seq` and `time_us`; a row may be there more than once."""

    keys: Select[Any]
    is_ordered: bool  # whether an index gives the newest first, each once
    of_classes: bool = False  # whether they are from the table of classes


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions on inspections; all must hold, and of several values of one any."""

    cameras: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    bundles: tuple[str, ...] = ()  # NAME/VERSION
    reviewed: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    ids: tuple[str, ...] = field(default=())

    def reviewed_only(self) -> "Filters":
        """The same, of inspections that a person has reviewed."""
        return replace(self, reviewed=True)

    def conditions(self, columns: Columns = C) -> Iterator[ColumnElement[bool]]:
        """The same for a `WHERE` on the table of inspections, or on other columns of these names."""
        yield from self._times(columns)
        yield from (condition for condition, _ in self._equalities(columns))
        if self.classes:
            of_row = INSPECTION_CLASSES.c.seq == columns.seq
            yield exists(select(INSPECTION_CLASSES.c.seq).where(of_row, self._in_classes()))
        if self.text:
            # no range: an index of it would only help where the selection below is used
            yield or_(*(_begins(column, self.text) for column in _texts(columns)))

    def selections(self) -> Iterator[Selection]:
        """For each condition, but for the times, the rows that match it, as an index finds them."""
        for condition, is_ordered in self._equalities(C):
            yield Selection(select(C.seq, C.time_us).where(condition, *self._times(C)), is_ordered)
        if self.classes:
            columns = INSPECTION_CLASSES.c
            found = select(columns.seq, columns.time_us).where(self._in_classes(), *self._times(columns))
            yield Selection(found, len(self.classes) == 1, of_classes=True)
        if self.text:
            # a language's order, as PostgreSQL may have it, ignores case; the other condition does not
            ranges = (
                select(C.seq, C.time_us).where(
                    column.between(self.text, self.text + AFTER_ALL),
                    _begins(column, self.text),
                    *self._times(C),
                )
                for column in _texts(C)
            )
            every = union_all(*ranges).subquery()
            yield Selection(select(every.c.seq, every.c.time_us), False)

    def _times(self, columns: Columns) -> Iterator[ColumnElement[bool]]:
        if self.since is not None:
            yield columns.time_us >= to_us(self.since)
        if self.until is not None:
            yield columns.time_us < to_us(self.until)

    def _equalities(self, columns: Columns) -> Iterator[tuple[ColumnElement[bool], bool]]:
        """Conditions on one column, each with whether it allows one value only."""
        for column, values in (
            (columns.camera_id, self.cameras),
            (columns.part_id, self.parts),
            (columns.verdict, self.verdicts),
            (columns.recipe, self.recipes),
            (columns.id, self.ids),
        ):
            if values:
                yield column.in_(values) if len(values) > 1 else column == values[0], len(values) == 1
        if self.bundles:
            pairs = (name.rpartition("/")[::2] for name in self.bundles)
            each = [(columns.bundle == name) & (columns.bundle_version == version) for name, version in pairs]
            yield or_(*each), len(each) == 1
        if self.reviewed is not None:
            yield columns.reviewed.is_(self.reviewed), True

    def _in_classes(self) -> ColumnElement[bool]:
        return INSPECTION_CLASSES.c.class_name.in_(self.classes)


def _texts(columns: Columns) -> tuple[ColumnElement[Any], ...]:
    return columns.id, columns.part_id, columns.filename


def _begins(column: ColumnElement[Any], text: str) -> ColumnElement[bool]:
    return func.substr(column, 1, len(text)) == text


def before(cursor: str, columns: Columns = C) -> ColumnElement[bool]:
    """Rows that follow the cursor, newest first; raises RequestInvalid."""
    try:
        time_us, seq = base64.urlsafe_b64decode(cursor.encode()).split(b"-")
        place = (int(time_us), int(seq))
    except (ValueError, binascii.Error):
        message = "is not the `next` of a page"
        raise RequestInvalid(f"query.before {message}", (WrongField("query.before", message),)) from None
    return tuple_(columns.time_us, columns.seq) < place


def cursor_of(time_us: int, seq: int) -> str:
    """The cursor of the rows that follow this one."""
    return base64.urlsafe_b64encode(f"{time_us}-{seq}".encode()).decode()

"""Filters of lists of inspections, and the cursor of their pages."""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, exists, func, or_, select, tuple_

from app.database.tables import INSPECTION_CLASSES, INSPECTIONS
from app.errors import RequestInvalid, WrongField
from app.history.times import to_us

AFTER_ALL = "\U0010ffff"  # sorts after every text that begins alike
C = INSPECTIONS.c


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

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """The same for a `WHERE` on the table of inspections."""
        for column, values in (
            (C.camera_id, self.cameras),
            (C.part_id, self.parts),
            (C.verdict, self.verdicts),
            (C.recipe, self.recipes),
            (C.bundle + "/" + C.bundle_version, self.bundles),
            (C.id, self.ids),
        ):
            if values:
                yield column.in_(values)
        if self.classes:
            of_row = INSPECTION_CLASSES.c.seq == C.seq
            yield exists(
                select(INSPECTION_CLASSES.c.seq).where(
                    of_row, INSPECTION_CLASSES.c.class_name.in_(self.classes)
                )
            )
        if self.reviewed is not None:
            yield C.reviewed.is_(self.reviewed)
        if self.since is not None:
            yield C.time_us >= to_us(self.since)
        if self.until is not None:
            yield C.time_us < to_us(self.until)
        if self.text:  # the beginning of a text can use an index, a part of it cannot
            yield or_(
                *(
                    # an index finds the first; a language's order, as PostgreSQL may have it, ignores case
                    column.between(self.text, self.text + AFTER_ALL)
                    & (func.substr(column, 1, len(self.text)) == self.text)
                    for column in (C.id, C.part_id, C.filename)
                )
            )


def before(cursor: str) -> ColumnElement[bool]:
    """Rows that follow the cursor, newest first; raises RequestInvalid."""
    try:
        time_us, seq = base64.urlsafe_b64decode(cursor.encode()).split(b"-")
        place = (int(time_us), int(seq))
    except (ValueError, binascii.Error):
        message = "is not the `next` of a page"
        raise RequestInvalid(f"query.before {message}", (WrongField("query.before", message),)) from None
    return tuple_(C.time_us, C.seq) < place


def cursor_of(time_us: int, seq: int) -> str:
    """The cursor of the rows that follow this one."""
    return base64.urlsafe_b64encode(f"{time_us}-{seq}".encode()).decode()

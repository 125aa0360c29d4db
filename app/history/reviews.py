"""What people say of inspections: the queue, claims, and decisions. All of it blocks."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, RowMapping, func, select, update

from app.database import audit
from app.database.connection import Database
from app.database.tables import CLAIMS, INSPECTIONS, REVIEWS
from app.database.times import SECOND_US, from_us, now_us
from app.errors import RequestInvalid, WrongField
from app.history.errors import InspectionNotFound, ReviewConflict, ReviewNotFound
from app.history.files import ImageFiles
from app.history.queue_reasons import RANKS
from app.history.rows import in_force, reviews_of
from app.history.store import HistoryStore
from app.inspection.decoding.decode import decode_reference_mask
from app.inspection.png_encode import png_bytes
from app.schemas.history import QueueItem, ReviewAnswer, ReviewAsked, ReviewQueue

CLAIM_US = 600 * SECOND_US
C = INSPECTIONS.c
WAITING = (C.reviewed.is_(False), C.queue_reason.is_not(None))


class Reviews:
    """Reviews of one database; any thread, and any service on the same database, may use it."""

    def __init__(self, database: Database, files: ImageFiles, store: HistoryStore) -> None:
        self._database = database
        self._files = files
        self._store = store

    def queue(self, limit: int) -> ReviewQueue:
        """What waits for a person, the most urgent first; raises DatabaseUnusable."""
        with self._database.reading() as connection:
            ids = connection.scalars(_most_urgent().limit(limit)).all()
            return self._queue_of(connection, ids)

    def claim(self, who: str, count: int) -> ReviewQueue:
        """Claim the most urgent ones that nobody else looks at, for ten minutes; raises DatabaseUnusable.

        Those that `who` has claimed already count among them, so a page that is loaded again shows the same.
        """
        now = now_us()
        with self._database.transaction() as connection:
            connection.execute(CLAIMS.delete().where(CLAIMS.c.until_us < now))
            own = select(CLAIMS.c.inspection_id).where(CLAIMS.c.who == who)
            ids = list(connection.scalars(_most_urgent().where(C.id.in_(own)).limit(count)))
            free = _most_urgent().where(C.id.not_in(select(CLAIMS.c.inspection_id)))
            # on PostgreSQL two callers at once never get the same rows; SQLite has one writer at a time
            free = free.limit(count - len(ids)).with_for_update(skip_locked=True)
            ids += connection.scalars(free)
            connection.execute(CLAIMS.delete().where(CLAIMS.c.inspection_id.in_(ids)))
            if ids:
                claims = [{"inspection_id": id, "who": who, "until_us": now + CLAIM_US} for id in ids]
                connection.execute(CLAIMS.insert(), claims)
            return self._queue_of(connection, ids)

    def release(self, who: str, id: str) -> None:
        """Give up a claim; nothing happens if there is none of this person. Raises DatabaseUnusable."""
        with self._database.transaction() as connection:
            connection.execute(CLAIMS.delete().where(CLAIMS.c.inspection_id == id, CLAIMS.c.who == who))

    def add(self, id: str, who: str, asked: ReviewAsked) -> ReviewAnswer:
        """Store a person's decision.

        Raises InspectionNotFound, RequestInvalid (classes), a ReferenceMaskError, ReviewConflict (somebody
        else claims it or has reviewed it meanwhile), ImageNotStored or DatabaseUnusable.
        """
        columns = self._store.columns(id)
        classes, mask = _label_of(columns, asked)
        mask_file = None if mask is None else self._put(id, mask)
        with self._database.transaction() as connection:
            _lock(connection, id)
            _check_free(connection, id, who)
            last = _last_of(connection, id)
            if last is not None and last.number != asked.supersedes:
                raise ReviewConflict(
                    f"{last.who} has reviewed inspection {id} meanwhile (number {last.number}); look at it, "
                    "and send its number in `supersedes` to replace it"
                )
            values = {"verdict": asked.verdict, "classes": json.dumps(classes), "mask_file": mask_file}
            number = _insert(connection, id, who, values | {"comment": asked.comment})
            connection.execute(update(INSPECTIONS).where(C.id == id).values(reviewed=True))
            connection.execute(CLAIMS.delete().where(CLAIMS.c.inspection_id == id))
            before = None if last is None else last.model_dump(mode="json")
            audit.record(connection, who, "review.add", id, before=before, after=values)
            added = [each for each in _reviews(connection, id) if each.number == number]
        return added[0]

    def withdraw(self, id: str, number: int, who: str, *, of_anyone: bool) -> None:
        """Take a review back; the one before it, if any, is in force again.

        Raises ReviewNotFound, ReviewConflict (another person's, without `of_anyone`) or DatabaseUnusable.
        """
        with self._database.transaction() as connection:
            _lock(connection, id)
            found = [
                each for each in _reviews(connection, id) if each.number == number and not each.withdrawn
            ]
            if not found:
                raise ReviewNotFound(f"inspection {id} has no review {number} in force")
            if found[0].who != who and not of_anyone:
                raise ReviewConflict(
                    f"review {number} is {found[0].who}'s; only an engineer may take it back"
                )
            values = {"verdict": found[0].verdict, "classes": "[]", "withdraws": number}
            _insert(connection, id, who, values)
            left = in_force(_rows_of(connection, id))
            connection.execute(update(INSPECTIONS).where(C.id == id).values(reviewed=left is not None))
            before = found[0].model_dump(mode="json")
            audit.record(connection, who, "review.withdraw", id, before=before)

    def mark_shadow(self, id: str) -> None:
        """Ask for a look at an inspection of which a candidate disagrees; raises DatabaseUnusable."""
        values = {"queue_reason": "shadow", "queue_rank": RANKS["shadow"]}
        less_urgent = func.coalesce(C.queue_rank, -1) < RANKS["shadow"]
        with self._database.transaction() as connection:
            connection.execute(update(INSPECTIONS).where(C.id == id, less_urgent).values(values))

    def _put(self, id: str, mask: NDArray[np.uint8]) -> str:
        content = png_bytes(mask)
        name = f"{datetime.now(UTC):masks/%Y/%m/%d}/{hashlib.sha256(content).hexdigest()}-{id[:8]}-review.png"
        self._files.put(name, content)
        return name

    def _queue_of(self, connection: Connection, ids: Sequence[str]) -> ReviewQueue:
        waiting = connection.scalar(select(func.count()).select_from(INSPECTIONS).where(*WAITING)) or 0
        ranks = {row.id: row for row in connection.execute(select(C.id, C.queue_rank).where(C.id.in_(ids)))}
        claims = {
            row.inspection_id: row
            for row in connection.execute(
                select(CLAIMS).where(CLAIMS.c.inspection_id.in_(ids), CLAIMS.c.until_us >= now_us())
            )
        }
        items = [
            QueueItem(
                row=row,
                reason=row.queue_reason or "sample",
                rank=ranks[row.id].queue_rank or 0.0,
                claimed_by=claims[row.id].who if row.id in claims else None,
                claimed_until=from_us(claims[row.id].until_us) if row.id in claims else None,
            )
            for row in self._store.rows(connection, ids)
        ]
        items.sort(key=lambda item: -item.rank)
        return ReviewQueue(items=items, waiting=waiting)


def _most_urgent() -> Any:
    return select(C.id).where(*WAITING).order_by(C.queue_rank.desc(), C.seq.desc())


def _label_of(columns: RowMapping, asked: ReviewAsked) -> tuple[list[str], NDArray[np.uint8] | None]:
    """Class names and label map of a decision; raises RequestInvalid or a ReferenceMaskError."""
    known: list[str] = json.loads(columns["class_names"])
    if wrong := sorted(set(asked.classes) - set(known)):
        raise _wrong("classes", f"{', '.join(wrong)}: the bundle has {', '.join(known)}")
    if asked.verdict == "pass" and (asked.classes or asked.mask is not None):
        raise _wrong("verdict", "a part that passes has no defect; leave classes and mask out")
    if asked.mask is None:
        return list(asked.classes), None
    mask, has_classes = decode_reference_mask(
        asked.mask_png(), (columns["height"], columns["width"]), len(known)
    )
    if not has_classes and len(known) > 1:
        raise _wrong("mask", "its values have to be the classes' numbers, from 1 on")
    drawn = [known[value - 1] for value in np.unique(mask) if value]
    if not drawn:
        raise _wrong("mask", "it marks nothing; leave it out if nobody knows where the defect is")
    if asked.classes and not set(drawn) <= set(asked.classes):
        raise _wrong("classes", f"the mask has {', '.join(drawn)}; name them, or leave the classes out")
    return list(asked.classes) or drawn, mask


def _wrong(field: str, message: str) -> RequestInvalid:
    return RequestInvalid(f"body.{field}: {message}", (WrongField(f"body.{field}", message),))


def _lock(connection: Connection, id: str) -> None:
    """Let no other transaction review this inspection until this one ends; raises InspectionNotFound."""
    if connection.scalar(select(C.seq).where(C.id == id).with_for_update()) is None:
        raise InspectionNotFound(id)


def _check_free(connection: Connection, id: str, who: str) -> None:
    of_others = (CLAIMS.c.inspection_id == id, CLAIMS.c.who != who, CLAIMS.c.until_us >= now_us())
    other = connection.scalar(select(CLAIMS.c.who).where(*of_others))
    if other is not None:
        raise ReviewConflict(f"{other} is looking at inspection {id}; take another one")


def _rows_of(connection: Connection, id: str) -> Sequence[RowMapping]:
    of_one = select(REVIEWS).where(REVIEWS.c.inspection_id == id).order_by(REVIEWS.c.number)
    return connection.execute(of_one).mappings().all()


def _reviews(connection: Connection, id: str) -> list[ReviewAnswer]:
    return reviews_of(_rows_of(connection, id))


def _last_of(connection: Connection, id: str) -> ReviewAnswer | None:
    return in_force(_rows_of(connection, id))


def _insert(connection: Connection, id: str, who: str, values: dict[str, Any]) -> int:
    row = {"inspection_id": id, "time_us": now_us(), "who": who} | values
    number: int | None = connection.scalar(REVIEWS.insert().returning(REVIEWS.c.number), row)
    assert number is not None
    return number

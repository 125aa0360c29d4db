"""The audit log: who changed what, when, from what to what."""

import json
from typing import Any

from sqlalchemy import Connection

from app.database.tables import AUDIT
from app.database.times import now_us


def record(
    connection: Connection, who: str, action: str, object: str, *, before: Any = None, after: Any = None
) -> None:
    """Add an entry, in the transaction of the change itself; `before` and `after` are stored as JSON.

    `action` is a kind of thing and a verb, such as `review.add`; `object` names the thing.
    """
    connection.execute(
        AUDIT.insert().values(
            time_us=now_us(),
            who=who,
            action=action,
            object=object,
            before=None if before is None else json.dumps(before),
            after=None if after is None else json.dumps(after),
        )
    )

"""The name of the box whose chain of hashes a database has."""

from uuid import uuid4

import sqlalchemy
from sqlalchemy import Connection

from app.database.tables import FACTS


def own_box(connection: Connection) -> str:
    """The name that the database has for its one box, made up at the first use."""
    name = connection.scalar(sqlalchemy.select(FACTS.c.value).where(FACTS.c.name == "box"))
    if name is None:
        name = f"box-{uuid4().hex[:8]}"
        connection.execute(FACTS.insert().values(name="box", value=name))
    return str(name)

"""Alembic's entry: runs migrations on the connection that it is given."""

from alembic import context

from app.database.tables import METADATA

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=METADATA, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()

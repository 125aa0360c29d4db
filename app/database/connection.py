"""Open the database, create or migrate it, and run statements on it."""

import logging
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import SQLAlchemyError

from app.database.errors import DatabaseNewer, DatabaseUnusable
from app.settings import Settings

FILE = "passline.db"
HERE = Path(__file__).parent
BUSY_S = 5.0  # how long SQLite waits for another process that writes
_WRITES = "passline_writes"  # option of a connection that is going to write
log = logging.getLogger(__name__)
logging.getLogger("alembic").setLevel(logging.WARNING)  # `database migrated` says enough


class Database:
    """One engine, opened and at the schema of this release; any thread may use it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def open(cls, url: str) -> "Database":
        """Connect, and create or migrate the tables; raises DatabaseUnusable or DatabaseNewer."""
        engine = _engine(url)
        database = cls(engine)
        try:
            migrate(engine)
        except SQLAlchemyError as error:
            database.close()
            raise DatabaseUnusable(
                f"the database {_shown(engine)} cannot be used: {_cause(error)}"
            ) from error
        except DatabaseNewer:
            database.close()
            raise
        return database

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection whose statements are committed together; raises DatabaseUnusable."""
        try:
            with self.engine.execution_options(**{_WRITES: True}).begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise DatabaseUnusable(f"the database {_shown(self.engine)} failed: {_cause(error)}") from error

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read with; raises DatabaseUnusable."""
        try:
            with self.engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise DatabaseUnusable(f"the database {_shown(self.engine)} failed: {_cause(error)}") from error

    @property
    def is_sqlite(self) -> bool:
        """Whether it is the embedded one."""
        return self.engine.dialect.name == "sqlite"

    def close(self) -> None:
        """Close every connection that is not in use."""
        self.engine.dispose()


def open_database(settings: Settings) -> Database:
    """The database of the settings, made where there is none; raises DatabaseUnusable or DatabaseNewer."""
    return Database.open(settings.database_url or sqlite_url(settings.data_dir))


def existing_database(settings: Settings) -> Database | None:
    """The same for a command that only reads: None where there is none yet."""
    if settings.database_url is None and not (settings.data_dir / FILE).is_file():
        return None
    return open_database(settings)


def free_bytes(folder: Path) -> float:
    """Free bytes on the disk of a folder; NaN if there is none."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return math.nan


def sqlite_url(folder: Path) -> str:
    """The address of the embedded database in a folder, which is made; raises DatabaseUnusable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseUnusable(
            f"PASSLINE_DATA_DIR ({folder}) cannot be made: {error.strerror}; name one that can be written"
        ) from error
    return f"sqlite:///{(folder / FILE).resolve()}"


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return sqlalchemy.create_engine(url, pool_pre_ping=True)
    engine = sqlalchemy.create_engine(url, connect_args={"timeout": BUSY_S})
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _set_up(connection: Any, _: object) -> None:
    """Set a new connection to SQLite up."""
    connection.isolation_level = None  # SQLAlchemy's own `begin` decides where a transaction starts
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-16000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later would fail where another one has written in between.
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def migrate(engine: Engine) -> None:
    """Bring the tables to the schema of this release; raises DatabaseNewer, or SQLAlchemy's errors."""
    config = alembic_config()
    script = ScriptDirectory.from_config(config)
    newest = script.get_current_head()
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current == newest:
        return
    known = {each.revision for each in script.walk_revisions()}
    if current is not None and current not in known:
        raise DatabaseNewer(
            f"the database {_shown(engine)} was written by a newer release (schema {current}, this release "
            f"knows up to {newest}); install that release again, or restore an earlier backup"
        )
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    log.info("database migrated", extra={"from_schema": current, "to_schema": newest})


def alembic_config() -> Config:
    """Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _shown(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=True)


def _cause(error: SQLAlchemyError) -> str:
    return str(getattr(error, "orig", None) or error).strip()

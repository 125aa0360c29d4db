"""The database: its migrations make exactly the tables of the code, on SQLite and on PostgreSQL."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine
from starlette.testclient import TestClient

from app.__main__ import main
from app.database.connection import FILE, Database, alembic_config, sqlite_url
from app.database.errors import DatabaseNewer, DatabaseUnusable
from app.database.tables import FACTS, INSPECTIONS, METADATA, THUMBNAILS
from tests.app.test_inspections import refused

VERSION_TABLE = "alembic_version"


@pytest.fixture
def url(database_url: str | None, tmp_path: Path) -> str:
    return database_url or sqlite_url(tmp_path / "data")


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database.open(url)
    yield opened
    opened.close()


def _differences(engine: Engine) -> list[object]:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return list(compare_metadata(context, METADATA))


def test_migrations_make_the_tables_of_the_code(database: Database) -> None:
    assert _differences(database.engine) == []
    made = set(sqlalchemy.inspect(database.engine).get_table_names()) - {VERSION_TABLE}
    assert made == set(METADATA.tables)


def test_a_column_that_no_migration_adds_would_be_noticed(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(sqlalchemy.text("ALTER TABLE audit DROP COLUMN why"))
    assert len(_differences(database.engine)) == 1


def test_migrations_go_down_and_up_again(database: Database) -> None:
    config = alembic_config()
    for migrate, wanted in ((command.downgrade, set()), (command.upgrade, set(METADATA.tables))):
        with database.engine.begin() as connection:
            config.attributes["connection"] = connection
            migrate(config, "base" if migrate is command.downgrade else "head")
        assert set(sqlalchemy.inspect(database.engine).get_table_names()) - {VERSION_TABLE} == wanted
    assert _differences(database.engine) == []


def test_a_database_is_opened_again_as_it_was(url: str) -> None:
    for _ in range(2):
        database = Database.open(url)
        with database.transaction() as connection:
            count = connection.scalar(sqlalchemy.select(sqlalchemy.func.count()).select_from(FACTS))
            connection.execute(FACTS.insert().values(name=f"fact {count}", value="true"))
        database.close()
    assert count == 1


def test_what_fails_midway_leaves_nothing(database: Database) -> None:
    def twice() -> None:
        with database.transaction() as connection:
            connection.execute(FACTS.insert().values(name="a", value="1"))
            connection.execute(FACTS.insert().values(name="a", value="2"))

    with pytest.raises(DatabaseUnusable):
        twice()
    with database.reading() as connection:
        assert connection.scalar(sqlalchemy.select(FACTS.c.value)) is None


def test_thumbnails_go_with_their_row(database: Database) -> None:
    row = {column.name: _filler(column) for column in INSPECTIONS.columns if not column.nullable}
    with database.transaction() as connection:
        connection.execute(INSPECTIONS.insert().values(row | {"seq": 7}))
        connection.execute(THUMBNAILS.insert().values(seq=7, jpeg=b"\xff\xd8"))
        connection.execute(INSPECTIONS.delete())
        assert connection.execute(sqlalchemy.select(THUMBNAILS)).all() == []
    with pytest.raises(DatabaseUnusable), database.transaction() as connection:
        connection.execute(THUMBNAILS.insert().values(seq=8, jpeg=b"\xff\xd8"))


def _filler(column: "sqlalchemy.Column[object]") -> object:
    return column.type.python_type()


def test_a_newer_schema_refuses_the_start_with_its_reason(url: str) -> None:
    database = Database.open(url)
    with database.transaction() as connection:
        connection.execute(sqlalchemy.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    database.close()
    with pytest.raises(DatabaseNewer, match=r"newer release \(schema 9999, this release knows up to 0001\)"):
        Database.open(url)


def test_a_service_is_not_ready_on_a_newer_database_and_says_so(
    make_client: Callable[..., TestClient], url: str, tmp_path: Path
) -> None:
    database = Database.open(url)
    with database.transaction() as connection:
        connection.execute(sqlalchemy.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    database.close()
    on_server = {} if url.startswith("sqlite") else {"database_url": url}
    client = make_client(data_dir=tmp_path / "data", **on_server)
    problem = refused(client.get("/readyz"), 503, "not_ready")
    assert "install that release again" in problem["detail"]


def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    with pytest.raises(DatabaseUnusable) as raised:
        Database.open("postgresql+psycopg://passline:secret@127.0.0.1:1/passline")
    assert "127.0.0.1:1" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_file_that_is_no_database_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / FILE).write_bytes(b"not a database" * 100)
    monkeypatch.setenv("PASSLINE_DATA_DIR", str(tmp_path))
    assert main(["history", "verify"]) != 0
    assert "not a database" in capsys.readouterr().err


def test_sqlite_flushes_every_commit_to_the_disk(tmp_path: Path) -> None:
    with closing(sqlite3.connect(sqlite_url(tmp_path).removeprefix("sqlite:///"))) as plain:
        plain.execute("PRAGMA journal_mode=DELETE")
    database = Database.open(sqlite_url(tmp_path))
    with database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    database.close()

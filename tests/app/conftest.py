"""A tiny real bundle, and the service on it: in process for most tests, as a process of its own for some."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from starlette.testclient import TestClient

from app.database.connection import FILE
from app.main import create_app
from app.settings import PREFIX, Settings
from tests import postgres
from tests.local_client import LocalClient
from tests.serving import Serving, serving
from tests.tiny_bundle import png, tiny_picture, write_tiny_bundle

STRICT = "name: strict\nother: {max_count: 0}\n"
GENEROUS = "name: generous\npixel_pitch_mm: 0.5\nother: {max_area_mm2: 1000}\n"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(PREFIX) and name not in (PREFIX + "DATA_DIR", PREFIX + "HISTORY"):
            monkeypatch.delenv(name)


def data_of(client: TestClient) -> Path:
    """The folder of data of a service in process."""
    found: Path = client.app.state.service.settings.data_dir  # type: ignore[attr-defined]
    return found


@contextmanager
def held(data: Path) -> Iterator[None]:
    """Another process holds the database below `data`, so that nothing can be written to it."""
    with closing(sqlite3.connect(data / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def change_database(data: Path, statement: str, *values: object) -> None:
    """Run one statement on the database below `data`, as somebody with a tool of SQLite would."""
    with closing(sqlite3.connect(data / FILE, isolation_level=None)) as other:
        other.execute(statement, values)


def change_rows(client: TestClient, statement: str, **values: object) -> None:
    """The same on the database of a service in process, SQLite or PostgreSQL."""
    url = client.app.state.service.database.engine.url  # type: ignore[attr-defined]
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(statement), values)
    engine.dispose()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Cluster]:
    """A PostgreSQL server; tests that use it are skipped where none is installed."""
    programs = postgres.binaries()
    if programs is None:
        pytest.skip(postgres.MISSING)
    with postgres.cluster(programs) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """The setting of that name: None for the embedded database, and an empty one on a server."""
    if request.param == "sqlite":
        return None
    server: postgres.Cluster = request.getfixturevalue("postgres_server")
    return server.new_database()


@pytest.fixture(scope="session")
def bundle_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="session")
def recipes_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "strict.yaml").write_text(STRICT)
    (folder / "generous.yml").write_text(GENEROUS)
    (folder / "notes.txt").write_text("not a recipe")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of recipes that a service may change."""
    (tmp_path / "strict.yaml").write_text(STRICT)
    return tmp_path


@pytest.fixture(scope="session")
def make_client(
    bundle_dir: Path, recipes_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., TestClient]]:
    """Start an app in process with changed settings; all are stopped at the end.

    Each has a database of its own unless `data_dir` says otherwise; those started on the same folder of
    recipes, if it is not the usual one, share theirs. By default they keep no inspections.
    """
    shared: dict[Path, Path] = {}
    with ExitStack() as stack:

        def data_of(folder: Path | None) -> Path:
            new = tmp_path_factory.mktemp("data")
            return new if folder is None else shared.setdefault(folder, new)

        def make(**changes: Any) -> TestClient:
            own = {"bundle_dir": bundle_dir, "recipes_dir": recipes_dir, "threads": 1, "history": "off"}
            values = own | {"data_dir": data_of(changes.get("recipes_dir"))} | changes
            return stack.enter_context(LocalClient(create_app(Settings.model_validate(values))))

        yield make


@pytest.fixture(scope="session")
def client(make_client: Callable[..., TestClient]) -> TestClient:
    return make_client()


@pytest.fixture(scope="session")
def dark() -> bytes:
    """An image with one defect of the class `dark`: 12 x 9 pixels at (20, 30)."""
    return png(tiny_picture(96, 80, dark=(20, 30, 12, 9)))


@pytest.fixture(scope="session")
def clean() -> bytes:
    """An image without a defect."""
    return png(tiny_picture(96, 80))


@pytest.fixture(scope="module")
def server(bundle_dir: Path, recipes_dir: Path) -> Iterator[Serving]:
    with serving(bundle_dir, threads=1, recipes_dir=recipes_dir, max_upload_bytes=4_000_000) as service:
        yield service

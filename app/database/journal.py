"""Numbered records in the database that are only ever added: recipe changes, promotions of bundles."""

import logging
import re
from pathlib import Path

import sqlalchemy
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Table
from sqlalchemy.exc import IntegrityError

from app.database import audit
from app.database.connection import Database
from app.database.errors import DatabaseUnusable

_FILE = re.compile(r"[0-9]{8}\.json")
_LAST = ".last"  # of earlier releases: the highest number written
log = logging.getLogger(__name__)


class Taken(Exception):
    """Another process has already written the next record."""


class Incomplete(Exception):
    """A record is missing; the message names it, and the remedy."""


class Kept(BaseModel):
    """Base of stored records: frozen, and unknown keys are refused.

    Records are separate from the shapes of the HTTP API, so a change of the API never makes stored ones
    unreadable.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


class Journal:
    """The records of one table, numbered from 1; without a database it is empty and cannot be written."""

    def __init__(self, database: Database | None, table: Table) -> None:
        self._database = database
        self._table = table
        self._last = 0

    def read(self) -> list[tuple[str, str]]:
        """Every record in order, each with its place for messages; raises Incomplete or DatabaseUnusable."""
        if self._database is None:
            return []
        with self._database.reading() as connection:
            rows = connection.execute(
                sqlalchemy.select(self._table.c.number, self._table.c.document).order_by(self._table.c.number)
            ).all()
        for expected, (number, _) in enumerate(rows, 1):
            if number != expected:
                raise Incomplete(
                    f"record {expected} of {self._table.name} is missing; restore the database from a backup"
                )
        self._last = len(rows)
        return [(f"record {number} of {self._table.name}", document) for number, document in rows]

    def append(self, document: str, entry: audit.Entry) -> None:
        """Store the next record with its entry in the audit log; then both survive a power cut.

        Raises DatabaseUnusable, or Taken if another process has written to the table.
        """
        if self._database is None:
            raise DatabaseUnusable("there is no database to store the change in")
        insert = self._table.insert().values(number=self._last + 1, document=document)
        with self._database.transaction() as connection:
            try:
                connection.execute(insert)
            except IntegrityError:
                raise Taken from None
            audit.add(connection, entry)
        self._last += 1

    def take_over(self, folder: Path) -> None:
        """Store the files of an earlier release, if the table is empty; the files stay where they are.

        Raises Incomplete, OSError or DatabaseUnusable; then nothing is stored.
        """
        if self._database is None or self.read():
            return
        documents = _read_files(folder)
        if not documents:
            return
        with self._database.transaction() as connection:
            connection.execute(
                self._table.insert(), [{"number": n, "document": text} for n, text in enumerate(documents, 1)]
            )
        log.info("records taken over", extra={"from": str(folder), "records": len(documents)})


def _read_files(folder: Path) -> list[str]:
    """The files 00000001.json and so on; empty if there are none. Raises Incomplete or OSError."""
    try:
        files = sorted(path for path in folder.iterdir() if _FILE.fullmatch(path.name))
    except FileNotFoundError:
        return []
    last = _stored_last(folder)
    for number in range(1, max(len(files), last) + 1):
        name = f"{number:08d}.json"
        if number > len(files) or files[number - 1].name != name:
            raise Incomplete(
                f"{folder / name} is missing; restore it from a backup, or move the folder away to start "
                "without its records"
            )
    try:
        return [path.read_bytes().decode("utf-8") for path in files]
    except UnicodeDecodeError as error:
        raise Incomplete(f"{folder} holds a file that is not UTF-8 text: {error}") from error


def _stored_last(folder: Path) -> int:
    try:
        return int((folder / _LAST).read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0
    except ValueError as error:
        raise Incomplete(f"{folder / _LAST} holds no number; restore it, or delete it") from error

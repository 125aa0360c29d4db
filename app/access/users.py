"""People who log in: names, roles and hashes of passwords, in the database.

Passwords are hashed by argon2, which is slow and takes 64 MiB each time on purpose; so it runs on few
threads of its own, and inspections do not wait for it.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, get_args

import sqlalchemy
from pwdlib import PasswordHash
from pwdlib.exceptions import PwdlibError
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import Connection

from app.access.caller import LOCAL_NAME
from app.access.keys import Scope
from app.access_errors import LastAdmin, PasswordUnfit, UserNotFound
from app.database import audit
from app.database.connection import Database
from app.database.tables import SESSIONS, USERS
from app.database.times import from_us, now_us
from app.schemas.people import Role

ROLES: tuple[Role, ...] = get_args(Role)
SCOPE_OF: dict[Role, Scope] = {"operator": "review", "engineer": "operate", "admin": "admin"}
MIN_PASSWORD = 12  # characters
MAX_PASSWORD = 256
HASHERS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="passwords")


@dataclass(frozen=True, slots=True)
class User:
    """One person, without the password's hash."""

    name: str
    role: Role
    disabled: bool
    created: datetime

    @property
    def scope(self) -> Scope:
        """What the role allows."""
        return SCOPE_OF[self.role]


class Users:
    """The table of users; every change is in the audit log, and ends the sessions of whom it concerns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[User]:
        """Every user by name; raises DatabaseUnusable."""
        with self._database.reading() as connection:
            rows = connection.execute(sqlalchemy.select(USERS).order_by(USERS.c.name)).mappings().all()
        return [_user(row) for row in rows]

    def put(
        self, who: str, name: str, role: Role, *, password: str | None = None, disabled: bool = False
    ) -> User:
        """Add or change a user; without a password the one before stays.

        Raises PasswordUnfit, also for a new user without a password, and LastAdmin.
        """
        if name.lower() == LOCAL_NAME:
            raise PasswordUnfit(f"{name} stands for whoever is at the box; choose another name")
        hashed = None if password is None else hash_of(name, password)
        with self._database.transaction() as connection:
            before = _row(connection, name)
            if before is None:
                _add(connection, name, role, hashed, disabled)
            else:
                new: dict[str, Any] = {"role": role, "disabled": disabled}
                new |= {} if hashed is None else {"password_hash": hashed}
                connection.execute(USERS.update().where(USERS.c.name == name).values(**new))
                if hashed is not None or before["role"] != role or disabled:
                    _end_sessions(connection, name)
            _keep_an_admin(connection)
            after = _row(connection, name)
            action = "user.add" if before is None else "user.put"
            told = _told(after) | ({} if hashed is None else {"password": "changed"})
            audit.record(connection, who, action, name, before=_told(before), after=told)
        return _user(after)

    def set_password(self, who: str, name: str, password: str) -> None:
        """Give a user a new password and end the sessions; raises UserNotFound or PasswordUnfit."""
        hashed = hash_of(name, password)
        with self._database.transaction() as connection:
            if _row(connection, name) is None:
                raise UserNotFound(f"there is no user {name}")
            connection.execute(USERS.update().where(USERS.c.name == name).values(password_hash=hashed))
            _end_sessions(connection, name)
            audit.record(connection, who, "user.password", name)

    def disable(self, who: str, name: str) -> User:
        """Refuse further log-ins and end the sessions; raises UserNotFound or LastAdmin."""
        with self._database.reading() as connection:
            row = _row(connection, name)
        if row is None:
            raise UserNotFound(f"there is no user {name}")
        return self.put(who, name, row["role"], disabled=True)

    def remove(self, who: str, name: str) -> None:
        """Delete a user and the sessions; raises UserNotFound or LastAdmin."""
        with self._database.transaction() as connection:
            before = _row(connection, name)
            if before is None:
                raise UserNotFound(f"there is no user {name}")
            _end_sessions(connection, name)
            connection.execute(USERS.delete().where(USERS.c.name == name))
            _keep_an_admin(connection)
            audit.record(connection, who, "user.remove", name, before=_told(before))

    def check(self, name: str, password: str) -> User | None:
        """The user whose name and password these are, unless disabled; slow, so call it on HASHERS.

        It takes as long for a name that does not exist.
        """
        with self._database.reading() as connection:
            row = _row(connection, name)
        hashed = row["password_hash"] if row is not None else None
        try:
            is_right = hasher().verify(password, hashed or _nobodys_hash())
        except PwdlibError:
            is_right = False
        return _user(row) if row and hashed and is_right and not row["disabled"] else None


def hash_of(name: str, password: str) -> str:
    """The hash of a new password; raises PasswordUnfit if it is too short, too long or holds the name."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise PasswordUnfit(f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters")
    if name.lower() in password.lower():
        raise PasswordUnfit("the password holds the user's name; choose one that cannot be guessed from it")
    if len(set(password)) < 5:
        raise PasswordUnfit("the password repeats few characters; choose one that cannot be guessed")
    return hasher().hash(password)


@cache
def hasher() -> PasswordHash:
    """Argon2id with the library's parameters."""
    return PasswordHash((Argon2Hasher(),))


@cache
def _nobodys_hash() -> str:
    return hasher().hash("of no user at all")


def _row(connection: Connection, name: str) -> Any:
    return connection.execute(sqlalchemy.select(USERS).where(USERS.c.name == name)).mappings().one_or_none()


def _add(connection: Connection, name: str, role: Role, hashed: str | None, disabled: bool) -> None:
    if hashed is None:
        raise PasswordUnfit("a new user needs a password")
    values = {"name": name, "role": role, "password_hash": hashed, "disabled": disabled}
    connection.execute(USERS.insert().values(created_us=now_us(), **values))


def _keep_an_admin(connection: Connection) -> None:
    """Raise LastAdmin, which undoes the transaction, if nobody is left who could log in as admin."""
    wanted = sqlalchemy.select(USERS.c.name).where(
        USERS.c.role == "admin", USERS.c.disabled.is_(False), USERS.c.password_hash.is_not(None)
    )
    # A row locked by `FOR UPDATE` keeps two such changes from passing this at once; SQLite has one writer.
    if not connection.execute(wanted.with_for_update()).all():
        raise LastAdmin("no admin who can log in would be left; add another admin first")


def _end_sessions(connection: Connection, name: str) -> None:
    connection.execute(SESSIONS.delete().where(SESSIONS.c.user_name == name))


def _user(row: Any) -> User:
    return User(row["name"], row["role"], bool(row["disabled"]), from_us(row["created_us"]))


def _told(row: Any) -> dict[str, Any]:
    """What the audit log says of a user: never a hash."""
    return {} if row is None else {"role": row["role"], "disabled": bool(row["disabled"])}

"""Sessions of people who are logged in: of each token only the SHA-256 is stored."""

import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

import sqlalchemy

from app.access.users import User
from app.database.connection import Database
from app.database.tables import SESSIONS, USERS
from app.database.times import SECOND_US, from_us, now_us

CACHE_S = 3.0  # how long a session or "there are users" is believed without asking the database
MAX_CACHED = 1024
SEEN_STEP_US = 60 * SECOND_US  # `seen` is written no more often


@dataclass(frozen=True, slots=True)
class Session:
    """Who is logged in, and the token that changes must carry."""

    user: User
    csrf: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a session lasts, in seconds: at most, and without a request."""

    most_s: int
    idle_s: int


class Sessions:
    """The table of sessions; any thread may use it."""

    def __init__(self, database: Database, limits: Limits) -> None:
        self._database = database
        self._limits = limits
        self._lock = threading.Lock()
        self._cached: OrderedDict[str, tuple[float, Session]] = OrderedDict()
        self._users_until = 0.0

    def start(self, user: User) -> tuple[str, Session]:
        """A new session: its token, for the cookie alone, and what it is; raises DatabaseUnusable.

        The token is always new, so that nobody can plant one beforehand (session fixation).
        """
        token, csrf, now = secrets.token_urlsafe(32), secrets.token_urlsafe(32), now_us()
        with self._database.transaction() as connection:
            connection.execute(SESSIONS.delete().where(SESSIONS.c.expires_us <= now))
            connection.execute(
                SESSIONS.insert().values(
                    token_sha256=_digest(token),
                    user_name=user.name,
                    csrf=csrf,
                    created_us=now,
                    seen_us=now,
                    expires_us=now + self._limits.most_s * SECOND_US,
                )
            )
        return token, Session(user, csrf)

    def known(self, token: str) -> Session | None:
        """The session if it was looked up a moment ago; never asks the database."""
        digest = _digest(token)
        with self._lock:
            found = self._cached.get(digest)
            return found[1] if found is not None and found[0] > time.monotonic() else None

    def find(self, token: str) -> Session | None:
        """The session of a token, unless it is over or its user disabled; raises DatabaseUnusable."""
        digest, now = _digest(token), now_us()
        joined = sqlalchemy.select(
            SESSIONS, USERS.c.role, USERS.c.disabled, USERS.c.created_us.label("user_created_us")
        ).join(USERS, USERS.c.name == SESSIONS.c.user_name)
        with self._database.reading() as connection:
            row = connection.execute(joined.where(SESSIONS.c.token_sha256 == digest)).mappings().one_or_none()
        if row is None or row["disabled"] or row["expires_us"] <= now:
            return None
        if row["seen_us"] + self._limits.idle_s * SECOND_US <= now:
            return None
        if row["seen_us"] + SEEN_STEP_US <= now:
            with self._database.transaction() as connection:
                mine = SESSIONS.c.token_sha256 == digest
                connection.execute(SESSIONS.update().where(mine).values(seen_us=now))
        user = User(row["user_name"], row["role"], False, from_us(row["user_created_us"]))
        session = Session(user, row["csrf"])
        with self._lock:
            self._cached[digest] = (time.monotonic() + CACHE_S, session)
            while len(self._cached) > MAX_CACHED:
                self._cached.popitem(last=False)
        return session

    def end(self, token: str) -> None:
        """Log out; a token that is not known does nothing. Raises DatabaseUnusable."""
        with self._database.transaction() as connection:
            connection.execute(SESSIONS.delete().where(SESSIONS.c.token_sha256 == _digest(token)))
        self.forget()

    def forget(self) -> None:
        """Believe nothing any more: users have changed."""
        with self._lock:
            self._cached.clear()
            self._users_until = 0.0

    @property
    def users_known(self) -> bool:
        """Whether there were users a moment ago; never asks the database."""
        return self._users_until > time.monotonic()

    def has_users(self) -> bool:
        """Whether anybody can log in; raises DatabaseUnusable."""
        with self._database.reading() as connection:
            found = connection.execute(sqlalchemy.select(USERS.c.name).limit(1)).first() is not None
        self._users_until = time.monotonic() + CACHE_S if found else 0.0
        return found


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()

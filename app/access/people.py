"""Log-ins and sessions for one app: users, sessions and the throttle together, off the event loop."""

import asyncio
from collections.abc import Callable

from app.access.sessions import Limits, Session, Sessions
from app.access.throttle import Throttle
from app.access.users import HASHERS, User, Users
from app.access_errors import LoginFailed
from app.database.connection import Database
from app.settings import Settings


class People:
    """Who may log in and who is logged in; use it from the event loop.

    `database` gives the database once it is open, and raises NotReady before.
    """

    def __init__(self, settings: Settings, database: Callable[[], Database]) -> None:
        self._limits = Limits(settings.session_hours * 3600, settings.session_idle_minutes * 60)
        self._database = database
        self._sessions: Sessions | None = None
        self.throttle = Throttle()

    @property
    def users(self) -> Users:
        """The table of users; raises NotReady."""
        return Users(self._database())

    @property
    def sessions(self) -> Sessions:
        """The table of sessions; raises NotReady."""
        if self._sessions is None:
            self._sessions = Sessions(self._database(), self._limits)
        return self._sessions

    async def session(self, token: str | None) -> Session | None:
        """The session of a cookie; raises NotReady or DatabaseUnusable."""
        if not token or len(token) > 256:
            return None
        return self.sessions.known(token) or await asyncio.to_thread(self.sessions.find, token)

    async def exist(self) -> bool:
        """Whether there is any user; raises NotReady or DatabaseUnusable."""
        return self.sessions.users_known or await asyncio.to_thread(self.sessions.has_users)

    async def log_in(self, name: str, password: str, address: str) -> tuple[str, Session]:
        """A new session and its token; raises LoginFailed or LoginThrottled."""
        self.throttle.begin(name, address)
        user = await self._checked(name, password)
        if user is None:
            raise LoginFailed("the name or the password is wrong, or the user is disabled")
        self.throttle.succeeded(name, address)
        return await asyncio.to_thread(self.sessions.start, user)

    async def end(self, token: str) -> None:
        """Log out; raises DatabaseUnusable."""
        await asyncio.to_thread(self.sessions.end, token)

    async def change_password(self, session: Session, old: str, new: str, address: str) -> None:
        """Set one's own password, which ends every session; raises LoginFailed or PasswordUnfit."""
        name = session.user.name
        self.throttle.begin(name, address)  # else a stolen session could try passwords without end
        if await self._checked(name, old) is None:
            raise LoginFailed("the old password is wrong")
        self.throttle.succeeded(name, address)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(HASHERS, self.users.set_password, name, name, new)
        self.sessions.forget()

    async def _checked(self, name: str, password: str) -> User | None:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(HASHERS, self.users.check, name, password)

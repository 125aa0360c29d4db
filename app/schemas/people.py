"""Shapes of sessions, users, keys and the audit log."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from app.inspection.types import Name
from app.schemas.inspections import Shape

Role = Literal["operator", "engineer", "admin"]
Password = Annotated[str, Field(min_length=1, max_length=256)]


class SessionUser(Shape):
    """Who is logged in."""

    name: str
    role: Role


class SessionAnswer(Shape):
    """What a page may show: everything as `local`, what the user may, a log-in, or how to set up."""

    mode: Literal["local", "user", "login", "setup"]
    user: SessionUser | None = None
    csrf: str | None = Field(default=None, description="To be sent as `X-CSRF-Token` with each change.")
    oidc: bool = Field(default=False, description="Whether log-in by OpenID Connect is set up.")
    setup: str | None = Field(default=None, description="The command that makes the first admin.")


class LoginAsked(Shape):
    """A name and its password."""

    name: Name
    password: Password


class PasswordAsked(Shape):
    """A user's own new password, with the old one."""

    old: Password
    new: Password


class UserAsked(Shape):
    """A user to be added or changed; without a password the one before stays."""

    role: Role
    password: Password | None = None
    disabled: bool = False


class UserAnswer(Shape):
    """One user."""

    name: str
    role: Role
    disabled: bool
    created: datetime


class UsersAnswer(Shape):
    """Every user by name."""

    users: list[UserAnswer]


class KeyAnswer(Shape):
    """One API key, without its token."""

    name: str
    scope: str
    created: datetime
    expires: datetime | None
    cameras: list[str]
    recipes: list[str]


class KeysAnswer(Shape):
    """Every API key of the file."""

    keys: list[KeyAnswer]


class AuditEntry(Shape):
    """One change: who, when, what, before and after."""

    number: int
    time: datetime
    who: str
    action: str = Field(description="A kind of thing and a verb, such as `user.add`.")
    object: str
    before: Any = None
    after: Any = None
    why: str | None = None


class AuditAnswer(Shape):
    """A page of the audit log, newest first; `next` is the `before` of the next page."""

    entries: list[AuditEntry]
    next: int | None


class AuditQuery(Shape):
    """Which page of the audit log."""

    before: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Only entries with smaller numbers."
    )
    limit: Annotated[int, Field(ge=1, le=500)] = Field(default=100, description="Most entries.")

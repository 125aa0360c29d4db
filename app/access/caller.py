"""Who sends a request: a machine with its key, a person with a session, or somebody at the box itself."""

from dataclasses import dataclass
from typing import Literal

from app.access.keys import SCOPES, Key, Scope

LOCAL_NAME = "local"


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of one request, and what it may do."""

    name: str
    kind: Literal["key", "user", "local"]
    scope: Scope
    key: Key | None = None

    def allows(self, scope: Scope) -> bool:
        """Whether the caller's scope is this one or includes it."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)


LOCAL = Caller(LOCAL_NAME, "local", "admin")
LOCAL_CAMERA = Caller(LOCAL_NAME, "local", "inspect")  # may do no more, whether there are users or not

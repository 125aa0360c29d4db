"""API keys: a file of JSON lines with the hash of each; the token is shown once and not stored.

A plain SHA-256 is enough: a token has 256 random bits and cannot be guessed. A slow hash is for passwords
that people choose, and would slow down every request.
"""

import fcntl
import hashlib
import hmac
import logging
import os
import secrets
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.inspection.repeats import repeated
from app.inspection.rules.recipe import describe
from app.inspection.types import Name, Sha256
from app.schemas.inspections import Label

Scope = Literal["inspect", "review", "operate", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)  # each includes those before it
PREFIX = "passline_"  # so that a token left in a file is recognised
ANY = "*"  # in a key's list: every name
MAX_NAMES = 256  # cameras of a key, and recipes
MAX_FILE_BYTES = 4 * 1024 * 1024
# write permission for the group, any permission for others; a group may read (secrets of Kubernetes)
OPEN_MODES = stat.S_IWGRP | stat.S_IRWXO
Names = Annotated[tuple[Label, ...], Field(max_length=MAX_NAMES)]
log = logging.getLogger(__name__)


class KeysUnusable(ValueError):
    """The key file cannot be read, has other content, or cannot be changed as asked."""


class KeysOutOfReach(KeysUnusable):
    """The key file cannot be read at the moment, whatever its content."""


class Key(BaseModel):
    """One line of the file: holder, scope and the SHA-256 of the token.

    A key with a scope below `operate` may name only its `cameras` and `recipes`. Higher scopes may name all:
    they may change recipes anyway.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    scope: Scope
    sha256: Sha256
    created: AwareDatetime
    expires: AwareDatetime | None = None
    cameras: Names = ()
    recipes: Names = ()

    @model_validator(mode="after")
    def _lists_only_to_inspect(self) -> Self:
        if self.names_all and (self.cameras or self.recipes):
            raise ValueError(f"the scope {self.scope} may name all cameras and recipes; leave the lists out")
        return self

    def allows(self, scope: Scope) -> bool:
        """Whether the key's scope is this one or includes it."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)

    def may_name(self, kind: str, value: str) -> bool:
        """Whether requests with this key may name this `camera` or `recipe` (the kind)."""
        names = {"camera": self.cameras, "recipe": self.recipes}[kind]
        return self.names_all or ANY in names or value in names

    @property
    def names_all(self) -> bool:
        """Whether its scope includes changing recipes, so that lists would limit nothing."""
        return self.allows("operate")

    @property
    def has_expired(self) -> bool:
        """Whether it is past its expiry."""
        return self.expires is not None and self.expires <= datetime.now(UTC)


class KeyRing:
    """The keys of a file, read again whenever it changes.

    If the file becomes unusable, the keys read before stay in force: a mistake while editing must not stop
    the line. At the start there are none, so every request is refused.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._seen: object = None
        self._logged: set[str] = set()
        self._keys: tuple[Key, ...] = ()

    def __len__(self) -> int:
        self._read_again()
        return len(self._keys)

    @property
    def all(self) -> tuple[Key, ...]:
        """Every key, also those that have expired."""
        self._read_again()
        return self._keys

    def find(self, token: str) -> Key | None:
        """The key whose token this is, expired or not."""
        self._read_again()
        wanted, found = _digest(token), None
        for key in self._keys:  # all of them, each in constant time, so that timing reveals nothing
            if hmac.compare_digest(key.sha256, wanted):
                found = key
        return found

    def _read_again(self) -> None:
        if self._file is None:
            return
        try:
            seen = _state(self._file)
            if seen != self._seen:
                self._keys = read_keys(self._file)
                log.info("keys read", extra={"keys": [key.name for key in self._keys]})
        except KeysOutOfReach as error:  # perhaps for a moment only, so the next request reads again
            if str(error) not in self._logged:
                self._logged.add(str(error))
                self._log_error(error)
            return
        except KeysUnusable as error:  # until the file changes
            self._log_error(error)
        self._seen = seen
        self._logged.clear()

    def _log_error(self, error: KeysUnusable) -> None:
        left = [key.name for key in self._keys]
        log.error("the keys cannot be read; those before stay", extra={"reason": str(error), "keys": left})


def read_keys(file: Path) -> tuple[Key, ...]:
    """Every key of a file; raises KeysUnusable."""
    try:
        lines = _content(file).decode("utf-8").splitlines()
    except OSError as error:
        raise KeysOutOfReach(f"{file} cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise KeysUnusable(f"{file} is not UTF-8 text: {error}") from error
    keys = tuple(_parsed(f"{file}, line {n}", line) for n, line in enumerate(lines, 1) if line.strip())
    if twice := repeated(key.name for key in keys):
        raise KeysUnusable(f"{file}: {', '.join(sorted(twice))} is given twice; a name stands for one key")
    return keys


def _content(file: Path) -> bytes:
    """The bytes of a regular file that only its owner may change; raises OSError or KeysUnusable.

    Opening does not block, so a pipe in the file's place does not stop the service.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeysUnusable(f"{file} is not a regular file")
        if status.st_mode & OPEN_MODES:
            raise KeysUnusable(
                f"{file} has the mode {stat.S_IMODE(status.st_mode):04o}, which is open to others; "
                f"allow only its owner: chmod 600 {file}"
            )
        if status.st_uid not in (0, os.geteuid()):
            raise KeysUnusable(
                f"{file} belongs to user {status.st_uid}; it has to belong to the service's user, "
                f"{os.geteuid()}, or to root"
            )
        if status.st_size > MAX_FILE_BYTES:
            raise KeysUnusable(f"{file} has {status.st_size} bytes; the limit is {MAX_FILE_BYTES}")
        return opened.read(MAX_FILE_BYTES)


def add_key(
    file: Path,
    name: str,
    scope: Scope,
    expires: datetime | None = None,
    *,
    cameras: Sequence[str] = (),
    recipes: Sequence[str] = (),
) -> str:
    """Make a key and return its token, which is not stored; raises KeysUnusable."""
    token = PREFIX + secrets.token_urlsafe(32)
    content = {"name": name, "scope": scope, "sha256": _digest(token), "created": datetime.now(UTC)}
    try:
        key = Key.model_validate(
            content | {"expires": expires, "cameras": tuple(cameras), "recipes": tuple(recipes)}
        )
    except ValidationError as error:
        raise KeysUnusable(describe(error)) from error
    with _alone(file):
        keys = read_keys(file) if file.exists() else ()
        if name in {each.name for each in keys}:
            raise KeysUnusable(f"there is a key {name} already; revoke it first, or take another name")
        _write(file, (*keys, key))
    return token


def revoke_key(file: Path, name: str) -> None:
    """Take a key out of the file; raises KeysUnusable where there is none of that name."""
    with _alone(file):
        keys = read_keys(file)
        left = [key for key in keys if key.name != name]
        if len(left) == len(keys):
            known = ", ".join(key.name for key in keys) or "none"
            raise KeysUnusable(f"there is no key {name}; there are: {known}")
        _write(file, left)


def _state(file: Path) -> object:
    """A value that changes with the file."""
    try:
        status = file.stat()
    except OSError as error:
        raise KeysOutOfReach(f"{file} cannot be read: {error}") from error
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _parsed(place: str, line: str) -> Key:
    try:
        return Key.model_validate_json(line)
    except ValidationError as error:
        raise KeysUnusable(f"{place}: is no key: {describe(error)}") from error


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Lock the file against other commands; raises KeysUnusable with the disk's error."""
    try:
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)
    except OSError as error:
        raise KeysUnusable(f"{file} cannot be written: {error}") from error


def _write(file: Path, keys: Iterable[Key]) -> None:
    """Replace the file atomically with mode 0600 and the same owner."""
    descriptor, unfinished = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.writelines(f"{key.model_dump_json(exclude_defaults=True)}\n" for key in keys)
            out.flush()
            os.fsync(out.fileno())
            if file.exists():  # else a command run by root would take the file from the service
                owner = file.stat()
                os.fchown(out.fileno(), owner.st_uid, owner.st_gid)
        Path(unfinished).replace(file)
    except OSError:
        Path(unfinished).unlink(missing_ok=True)
        raise

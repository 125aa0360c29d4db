"""API keys: a file of JSON lines with the hash of each; the token itself is shown once and kept nowhere.

A plain SHA-256 is enough: a token is 256 random bits, which nobody finds by trying. A slow hash is for
passwords that people choose, and would only slow every request down.
"""

import fcntl
import hashlib
import hmac
import logging
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from app.inspection.repeats import repeated
from app.inspection.rules.recipe import describe
from app.inspection.types import Name, Sha256

Scope = Literal["inspect", "operate", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)  # each includes those before it
PREFIX = "passline_"  # so that a token left in a file is known for one
log = logging.getLogger(__name__)


class KeysUnusable(ValueError):
    """The file of keys cannot be read, holds something else, or cannot be changed as asked."""


class KeysOutOfReach(KeysUnusable):
    """The file of keys cannot be read at the moment, whatever it holds."""


class Key(BaseModel):
    """One line of the file: who holds the key, what it is for, and the SHA-256 of its token."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    scope: Scope
    sha256: Sha256
    created: AwareDatetime
    expires: AwareDatetime | None = None

    def allows(self, scope: Scope) -> bool:
        """Whether the key's scope is this one or includes it."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)

    @property
    def has_expired(self) -> bool:
        """Whether its time is over."""
        return self.expires is not None and self.expires <= datetime.now(UTC)


class KeyRing:
    """The keys of a file, read again whenever it changes.

    What cannot be read leaves the keys read before in force: a slip while editing must not stop the line. At
    the start there are none before, so nobody gets in.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._seen: object = None
        self._told: set[str] = set()
        self._keys: tuple[Key, ...] = ()

    def __len__(self) -> int:
        self._read_again()
        return len(self._keys)

    def find(self, token: str) -> Key | None:
        """The key whose token this is, expired or not."""
        self._read_again()
        wanted, found = _digest(token), None
        for key in self._keys:  # all of them, each in constant time: how long it takes tells nothing
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
        except KeysOutOfReach as error:  # it may pass, and a key have been revoked meanwhile: asked again
            if str(error) not in self._told:
                self._told.add(str(error))
                self._tell(error)
            return
        except KeysUnusable as error:  # stays so until the file changes
            self._tell(error)
        self._seen = seen
        self._told.clear()

    def _tell(self, error: KeysUnusable) -> None:
        left = [key.name for key in self._keys]
        log.error("the keys cannot be read; those before stay", extra={"reason": str(error), "keys": left})


def read_keys(file: Path) -> tuple[Key, ...]:
    """Every key of a file; raises KeysUnusable."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise KeysOutOfReach(f"{file} cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise KeysUnusable(f"{file} is not UTF-8 text: {error}") from error
    keys = tuple(_parsed(f"{file}, line {n}", line) for n, line in enumerate(lines, 1) if line.strip())
    if twice := repeated(key.name for key in keys):
        raise KeysUnusable(f"{file}: {', '.join(sorted(twice))} is given twice; a name stands for one key")
    return keys


def add_key(file: Path, name: str, scope: Scope, expires: datetime | None) -> str:
    """Make a key and return its token, which is kept nowhere; raises KeysUnusable."""
    token = PREFIX + secrets.token_urlsafe(32)
    content = {"name": name, "scope": scope, "sha256": _digest(token), "created": datetime.now(UTC)}
    try:
        key = Key.model_validate(content | {"expires": expires})
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
    """What differs once the file has changed."""
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
    """Keep a second command from changing the file meanwhile, and tell what the disk refuses."""
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
    """Replace the file at once, readable by its owner alone, who stays the same."""
    descriptor, unfinished = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.writelines(f"{key.model_dump_json(exclude_none=True)}\n" for key in keys)
            out.flush()
            os.fsync(out.fileno())
            if (
                file.exists()
            ):  # else root would take it from the service, which would keep what it read before
                owner = file.stat()
                os.fchown(out.fileno(), owner.st_uid, owner.st_gid)
        Path(unfinished).replace(file)
    except OSError:
        Path(unfinished).unlink(missing_ok=True)
        raise

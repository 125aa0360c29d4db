"""Bundles on disk, by name and version, and the journal of promotions and rollbacks."""

import hashlib
import logging
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from app.access.caller import LOCAL_NAME
from app.change_errors import (
    BundleNotFound,
    StateInvalid,
    SwappingOff,
    VersionStale,
)
from app.database.audit import Entry
from app.database.connection import Database
from app.database.errors import DatabaseUnusable
from app.database.journal import Incomplete, Journal, Kept, Taken
from app.database.tables import BUNDLE_CHANGES
from app.inspection.bundle.bundle import MANIFEST, Bundle
from app.inspection.errors import BundleCorrupt
from app.inspection.rules.recipe import describe
from app.inspection.types import Name, Sha256
from app.schemas.bundles import BundleName
from app.settings import Settings
from app.telemetry.metrics import KEY_NAME

FOLDER = "bundles"
log = logging.getLogger(__name__)
OFF = "bundles cannot be swapped here: set PASSLINE_BUNDLES_DIR to the folder that holds them as NAME/VERSION"
_NAME: TypeAdapter[str] = TypeAdapter(Name)


class ShadowOutcome(Kept):
    """Images of a promoted candidate's shadow, by outcome; disagreements by kind (`pass_to_fail`)."""

    judged: int
    dropped: int
    failed: int
    disagreements: dict[str, int]


class Swap(Kept):
    """One promotion or rollback, as stored."""

    who: str | None = None
    why: str | None = None
    number: Annotated[int, Field(ge=1)]
    when: AwareDatetime
    how: Literal["promotion", "rollback"]
    name: str
    version: str
    manifest_sha256: Sha256
    from_setting: bool
    shadow: ShadowOutcome | None = None


class BundleFolder:
    """Finds bundles; it only reads, and only in its folder."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @property
    def off(self) -> str | None:
        """Why bundles cannot be swapped; None if they can."""
        return OFF if self._folder is None else None

    def there(self) -> list[BundleName]:
        """Every folder NAME/VERSION with a manifest, sorted; its content is checked only on loading."""
        if self._folder is None:
            return []
        names = [
            BundleName(name=path.parent.parent.name, version=path.parent.name)
            for path in sorted(self._folder.glob(f"*/*/{MANIFEST}"))
            if _is_name(path.parent.parent.name) and _is_name(path.parent.name)
        ]
        return [name for name in names if self._place(name) is not None]

    def find(self, bundle: BundleName) -> Path:
        """The folder of a bundle; raises BundleNotFound or SwappingOff."""
        if self._folder is None:
            raise SwappingOff(OFF)
        place = self._place(bundle)
        if place is None:
            known = ", ".join(map(str, self.there())) or "none"
            raise BundleNotFound(
                f"there is no bundle {bundle} below PASSLINE_BUNDLES_DIR; there are: {known}"
            )
        return place

    def _place(self, bundle: BundleName) -> Path | None:
        """The bundle's resolved path; None if there is no manifest, or a link leads out of the folder."""
        assert self._folder is not None
        place = (self._folder / bundle.name / bundle.version).resolve()
        is_inside = place.is_relative_to(self._folder.resolve())
        return place if is_inside and (place / MANIFEST).is_file() else None


class BundleJournal:
    """The promotions and rollbacks stored in the database; without one, none can be stored."""

    def __init__(self, database: Database | None) -> None:
        self._journal = Journal(database, BUNDLE_CHANGES)
        self.changes: tuple[Swap, ...] = ()
        self._unreadable: str | None = None
        self._first: str | None = None

    def read(self, folder: Path) -> None:
        """Read every change, with those that an earlier release left in files below `folder`.

        Raises StateInvalid, naming an invalid record, or DatabaseUnusable.
        """
        try:
            self._journal.take_over(folder / FOLDER)
            self.changes = tuple(_parsed(place, text) for place, text in self._journal.read())
        except (OSError, Incomplete, StateInvalid) as error:
            self._unreadable = f"the stored promotions cannot be read: {error}"
            raise StateInvalid(self._unreadable) from error

    @property
    def next_number(self) -> int:
        """The number of the next change."""
        return len(self.changes) + 1

    def began_with(self, bundle: Bundle) -> None:
        """Note the bundle of this start: if the setting decides, the next start serves it too."""
        self._first = bundle.manifest_sha256

    @property
    def _next_start(self) -> str | None:
        setting_decides = not self.changes or self.changes[-1].from_setting
        return self._first if setting_decides else self.changes[-1].manifest_sha256

    def _entry(self, change: Swap) -> Entry:
        """What the audit log says: the key or user of the request, and whom it says to be."""
        last = self.changes[-1] if self.changes else None
        before = None if last is None else {"name": last.name, "version": last.version}
        after = {"name": change.name, "version": change.version, "said_by": change.who}
        who = KEY_NAME.get() or LOCAL_NAME
        return Entry(who, f"bundle.{change.how}", change.name, before, after, change.why)

    def try_to_keep(self, change: Swap) -> bool:
        """As `keep`, but returns whether the change could be stored."""
        try:
            self.keep(change)
        except (DatabaseUnusable, VersionStale) as error:
            log.error("a change of bundles is not kept", extra={"code": error.code, "reason": str(error)})
            return False
        return True

    def keep(self, change: Swap) -> None:
        """Store a change, unless the next start would serve that bundle anyway; it survives a power cut.

        Raises DatabaseUnusable, or VersionStale if another process has stored one.
        """
        if change.manifest_sha256 == self._next_start:
            return
        if self._unreadable is not None:  # the next start could not read the new change either
            raise DatabaseUnusable(f"{self._unreadable}; restore them from a backup, and restart")
        try:
            self._journal.append(change.model_dump_json(), self._entry(change))
        except Taken:
            raise VersionStale("another process has changed the bundle; restart this one") from None
        self.changes = (*self.changes, change)


def bundle_to_serve(settings: Settings, journal: BundleJournal) -> Path:
    """The folder of the bundle last promoted or rolled back to, else that of the settings.

    Raises BundleNotFound, BundleCorrupt, StateInvalid, SwappingOff or DatabaseUnusable: serving another
    bundle than the promoted one would change verdicts without anyone's decision.
    """
    journal.read(settings.data_dir)
    if not journal.changes or journal.changes[-1].from_setting:
        return settings.bundle_dir
    last = journal.changes[-1]
    place = BundleFolder(settings.bundles_dir).find(BundleName(name=last.name, version=last.version))
    try:
        manifest = (place / MANIFEST).read_bytes()
    except OSError as error:
        raise BundleCorrupt(f"{place} holds no readable {MANIFEST}: {error}") from error
    if hashlib.sha256(manifest).hexdigest() != last.manifest_sha256:
        raise BundleCorrupt(f"{place / MANIFEST} is not the one promoted as number {last.number}; restore it")
    return place


def _parsed(place: str, document: str) -> Swap:
    try:
        return Swap.model_validate_json(document)
    except ValidationError as error:
        raise StateInvalid(f"{place} is not a change of bundles: {describe(error)}") from error


def _is_name(text: str) -> bool:
    try:
        _NAME.validate_python(text)
    except ValidationError:
        return False
    return True

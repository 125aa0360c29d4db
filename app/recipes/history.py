"""The history of recipes and activations in the database, and recipe files edited by hand."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from app.access.caller import LOCAL_NAME
from app.change_errors import VersionStale
from app.database.audit import Entry
from app.database.connection import Database
from app.database.journal import Incomplete, Journal, Kept, Taken
from app.database.tables import RECIPE_CHANGES
from app.inspection.errors import RecipeInvalid
from app.inspection.rules.recipe import describe, parse_recipe

FOLDER = "history"
SUFFIXES = frozenset({".yaml", ".yml", ".json"})


@dataclass(frozen=True, slots=True)
class HandMade:
    """A recipe file edited by hand: its text, when it was last written, and its name."""

    text: str
    when: datetime
    file: str


class ActiveRecipes(Kept):
    """Names of recipes for requests that name none: by part, else by camera, else the default."""

    default: str | None = None
    cameras: dict[str, str] = Field(default_factory=dict)
    parts: dict[str, str] = Field(default_factory=dict)


class Change(Kept):
    """Fields of every change; versions count from 1, for each recipe and for the activations separately."""

    who: str | None = None
    why: str | None = None
    version: Annotated[int, Field(ge=1)]
    when: AwareDatetime
    key: str | None = None  # name of the API key used; `who` may be somebody else


class RecipeChange(Change):
    """A recipe's new version; `text` is None if it was deleted."""

    kind: Literal["recipe"] = "recipe"
    name: str
    how: Literal["bundle", "file", "http"]
    text: str | None


class ActivationsChange(Change):
    """A new version of the activations."""

    kind: Literal["activations"] = "activations"
    activations: ActiveRecipes


AnyChange = RecipeChange | ActivationsChange
_CHANGE: TypeAdapter[AnyChange] = TypeAdapter(Annotated[AnyChange, Field(discriminator="kind")])


class History:
    """The changes of recipes, in the order they were made, and the folder of files edited by hand."""

    def __init__(self, database: Database | None, folder: Path | None) -> None:
        """Without a database there are no changes, and none can be stored."""
        self._journal = Journal(database, RECIPE_CHANGES)
        self.folder = folder

    def read(self) -> list[AnyChange]:
        """Every change, with those that an earlier release left in files; raises RecipeInvalid."""
        try:
            if self.folder is not None:
                self._journal.take_over(self.folder / FOLDER)
            return [_parsed(place, document) for place, document in self._journal.read()]
        except (OSError, Incomplete) as error:
            raise RecipeInvalid(f"the history of recipes cannot be read: {error}") from error

    def append(self, change: AnyChange) -> None:
        """Store a change; once this returns, it survives a power cut.

        Raises DatabaseUnusable, or VersionStale if another process has changed recipes.
        """
        try:
            self._journal.append(change.model_dump_json(), _entry(change))
        except Taken:
            raise VersionStale("another process has changed the recipes; restart this one") from None


def _entry(change: AnyChange) -> Entry:
    """What the audit log says: who really made the change, who it is said to be, and the versions."""
    before = {"version": change.version - 1} if change.version > 1 else None
    after: dict[str, Any] = {"version": change.version, "said_by": change.who}
    if isinstance(change, ActivationsChange):
        after["activations"] = change.activations.model_dump()
        return Entry(change.key or LOCAL_NAME, "activations.put", "activations", before, after, change.why)
    who = change.key or (LOCAL_NAME if change.how == "http" else change.how)
    action = "recipe.delete" if change.text is None else "recipe.put"
    return Entry(who, action, change.name, before, after, change.why)


def _parsed(place: str, document: str) -> AnyChange:
    try:
        return _CHANGE.validate_json(document)
    except ValidationError as error:
        raise RecipeInvalid(f"{place} is not a change of a recipe: {describe(error)}") from error


def read_hand_made(folder: Path | None) -> dict[str, HandMade]:
    """Read every recipe file, by the recipe's name; raises RecipeInvalid, naming the first invalid file."""
    found: dict[str, HandMade] = {}
    if folder is None:
        return found
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise RecipeInvalid(f"the recipe folder {folder} cannot be read: {error}") from error
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
            when = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeInvalid(f"{path.name}: cannot be read as UTF-8 text: {error}") from error
        name = parse_recipe(text, path.name).name
        if name in found:
            raise RecipeInvalid(f"{path.name}: there is a recipe {name!r} already; give each its own name")
        found[name] = HandMade(text, when, path.name)
    return found


def news(
    files: Mapping[str, HandMade], history: Mapping[str, Sequence[RecipeChange]]
) -> Iterator[RecipeChange]:
    """Versions that are not in the history yet: recipes created, edited or deleted by hand."""
    for name in sorted(files.keys() | history.keys()):
        past = history.get(name, ())
        by_hand = [change for change in past if change.how == "file"]
        was = by_hand[-1].text if by_hand else None
        is_file_in_force = bool(past) and past[-1].how == "file"
        file = files.get(name)
        if file is not None and file.text != was:
            yield _change(name, len(past) + 1, file.when, file.text)
        elif file is None and was is not None and is_file_in_force:
            yield _change(name, len(past) + 1, datetime.now(UTC), None)


def _change(name: str, version: int, when: datetime, text: str | None) -> RecipeChange:
    return RecipeChange(version=version, when=when, name=name, how="file", text=text)

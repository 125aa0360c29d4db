"""Recipe files made by hand in the folder, and which of them are news to its history.

A file is news when its text is not the one its recipe was last made by hand with. So a file can be edited
beside changes over HTTP: whichever came last is in force, and neither is lost.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from app.inspection.errors import RecipeInvalid
from app.inspection.rules.recipe import parse_recipe
from app.recipes.history import RecipeChange

SUFFIXES = frozenset({".yaml", ".yml", ".json"})


@dataclass(frozen=True, slots=True)
class HandMade:
    """The text of a file, when it was last written, and the file's name."""

    text: str
    when: datetime
    file: str


def read_hand_made(folder: Path | None) -> dict[str, HandMade]:
    """Every recipe file by the recipe's name; raises RecipeInvalid, naming the first file that is wrong."""
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
    """The versions that the files add to the history: what was made or edited by hand, and ends of files."""
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

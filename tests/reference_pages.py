"""The tables of docs/errors.md and docs/settings.md, from the error classes and the fields of Settings.

`python -m tests.reference_pages` prints them, `--write` puts them into the pages. A test compares the two.
"""

import argparse
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import app.main  # noqa: F401  # whose imports define every error
from app import access_errors, change_errors
from app import errors as service
from app.inspection import errors as core
from app.inspection.errors import PasslineError
from app.problems import kinds, status_of
from app.settings import Settings, variable
from tests.markdown import ROOT
from tests.marked import renew

ERRORS = ROOT / "docs/errors.md"
SETTINGS = ROOT / "docs/settings.md"
# The sections of docs/errors.md, and the branches of the error tree that each holds.
SECTIONS: dict[str, tuple[type[PasslineError], ...]] = {
    "image": (core.ImageError,),
    "reference-mask": (core.ReferenceMaskError,),
    "recipe": (core.RecipeError, change_errors.StoredRecipeError),
    "access": (access_errors.AccessError,),
    "request": (service.RequestError,),
    "serving": (service.ServingError, core.InferenceFailed),
    "swap": (change_errors.SwapError,),
    "bundle": (core.BundleError, core.DeviceUnavailable),
}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an error's docstring says: what it means, what to do, and whether a retry can help."""

    text: str
    remedy: str
    retry: str = "no"

    @classmethod
    def of(cls, kind: type[PasslineError]) -> "Meaning":
        """Read the docstring: `Remedy:` begins a paragraph and, where a retry can help, so does `Retry:`."""
        text, found = list[str](), {}
        for paragraph in inspect.cleandoc(kind.__doc__ or "").split("\n\n"):
            line = " ".join(paragraph.split())
            name, _, rest = line.partition(": ")
            if name in ("Remedy", "Retry"):
                found[name.lower()] = rest
            else:
                text.append(line)
        return cls(" ".join(text), **found)


def errors_of(section: str) -> Iterator[type[PasslineError]]:
    """The errors of one section of docs/errors.md, by module and line, whichever was imported first."""
    for root in SECTIONS[section]:
        yield from sorted(kinds(root), key=_place)


def _place(kind: type[PasslineError]) -> tuple[str, int]:
    return kind.__module__, inspect.getsourcelines(kind)[1]


def error_table(section: str) -> str:
    """The table of one section of docs/errors.md."""
    lines = ["| code | status | what it means | what to do | again? |", "|---|---|---|---|---|"]
    for kind in errors_of(section):
        what = Meaning.of(kind)
        lines.append(f"| `{kind.code}` | {status_of(kind)} | {what.text} | {what.remedy} | {what.retry} |")
    return "\n".join(lines)


def settings_table() -> str:
    """The table of docs/settings.md."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        shown = field.default
        if isinstance(shown, tuple):
            shown = ",".join(f"{each:%H:%M}" for each in shown)
        default = "unset" if shown is None else f"`{shown}`"
        lines.append(f"| `{variable(name)}` | {default} | {field.description} |")
    return "\n".join(lines)


# Each generated part: its page, and what makes it.
PARTS: dict[str, tuple[Path, Callable[[], str]]] = {
    "settings": (SETTINGS, settings_table),
    **{section: (ERRORS, partial(error_table, section)) for section in SECTIONS},
}


def main() -> None:
    """Print the tables, or write them."""
    parser = argparse.ArgumentParser(prog="python -m tests.reference_pages", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put them into the pages")
    write = parser.parse_args().write
    for name, (page, make) in PARTS.items():
        body = make()
        if write:
            renew(page, name, body)
        else:
            print(body)


if __name__ == "__main__":
    main()

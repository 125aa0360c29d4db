"""Inspect a folder of images without HTTP, with one recipe or, as a dry run, with two."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from app.inspection.errors import ImageUndecodable, PasslineError
from app.inspection.results import Reason
from app.inspection.rules.recipe import Recipe
from app.jobs.answers import inspect_job
from app.jobs.dry_run import Both, compare, dry_run_answer, dry_run_item, in_force
from app.jobs.job import Upload
from app.jobs.loading import Loaded
from app.problems import problem_of
from app.report.words import sentence
from app.schemas.inspections import InspectionAnswer, Labels, Options, Problem
from app.schemas.recipes import DryRunAnswer, DryRunItem

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff"})
# of images that are not read: each is an error, so that none is left out silently
UNREAD_SUFFIXES = frozenset(
    {".webp", ".gif", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".pgm", ".ppm", ".dng"}
)
NO_DATA_FOLDERS = ("__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information")
ALL_PASS, SOME_NOT, TROUBLE = 0, 1, 2
REASONS = TypeAdapter(tuple[Reason, ...])


@dataclass(frozen=True, slots=True)
class Line:
    """One image's outcome: an answer, or the error instead."""

    file: Path
    outcome: InspectionAnswer | PasslineError

    def as_json(self) -> str:
        """One JSON object on one line."""
        if isinstance(self.outcome, InspectionAnswer):
            return json.dumps({"file": str(self.file)} | self.outcome.model_dump(mode="json"))
        return json.dumps({"file": str(self.file), "code": self.outcome.code, "detail": str(self.outcome)})

    def as_row(self) -> tuple[str, ...]:
        """The cells of the table: file, verdict, what decided it, milliseconds."""
        if isinstance(self.outcome, InspectionAnswer):
            return str(self.file), *verdict_cells(self.outcome.model_dump(mode="json"))
        return str(self.file), "error", f"{self.outcome.code}: {self.outcome}", ""


def pictures(folder: Path) -> list[Path]:
    """Every image in a folder and the folders below it, in order of name, also of formats that are not read.

    Links are followed, each folder once. Hidden files and the folders of file systems are left out.
    """
    found: list[Path] = []
    entered: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(each for each in folders if _is_data(each))
        found += (Path(place, each) for each in files if _is_data(each))
    known = SUFFIXES | UNREAD_SUFFIXES
    return sorted(path for path in found if path.suffix.lower() in known and path.is_file())


def _is_data(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in NO_DATA_FOLDERS


def inspect_folder(
    loaded: Loaded, files: Sequence[Path], recipe: str | None, *, certificates: bool = False
) -> Iterable[Line]:
    """Inspect files one by one, with certificates on request; an error is an outcome like any other."""
    chosen = loaded.recipes.find(recipe)
    options = Options(mask="none", certificate=certificates)
    for file in files:
        try:
            data = read(file, loaded.inspector.limits.max_bytes)
            yield Line(file, inspect_job(loaded.job(Upload(file.name, data), options, chosen)))
        except PasslineError as error:
            yield Line(file, error)


def keep_certificate(line: Line, folder: Path, out: Path) -> Line:
    """Write a line's certificate below `out`, at its image's path relative to `folder`; returns it without.

    `c.png` gets `c.png.html`, because there may be a `c.jpg` too. A line with an error is returned unchanged.
    """
    if not isinstance(line.outcome, InspectionAnswer) or line.outcome.certificate is None:
        return line
    place = line.file.relative_to(folder)
    file = out / place.with_name(f"{place.name}.html")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(line.outcome.certificate, encoding="utf-8")
    return Line(line.file, line.outcome.model_copy(update={"certificate": None}))


def dry_run_folder(
    loaded: Loaded, candidate: Recipe, files: Sequence[Path], recipe: str | None
) -> DryRunAnswer:
    """Dry-run files, one by one; `recipe` names the recipe to compare with."""
    now = loaded.recipes.find(recipe) if recipe else in_force(loaded.recipes, candidate, Labels())

    def one(file: Path) -> Both | Problem:
        try:
            upload = Upload(file.name, read(file, loaded.inspector.limits.max_bytes))
            return compare(candidate, loaded.job(upload, Options(mask="none"), now))
        except PasslineError as error:
            return problem_of(error)

    return dry_run_answer(now, candidate, [dry_run_item(str(file), one(file)) for file in files])


def dry_run_table(answer: DryRunAnswer) -> str:
    """A row for each image, and below them what would change."""
    changes = [f"{count} {change.replace('_', ' ')}" for change, count in answer.counts.changes.items()]
    by = f"{answer.candidate} in the place of {answer.recipe} version {answer.recipe_version}"
    summary = f"{by}: {answer.counts.changed} of {answer.counts.images} verdicts change"
    lines = table(("image", "now", "then", "decided by"), map(_dry_run_row, answer.results))
    return f"{lines}\n{summary}{': ' if changes else ''}{', '.join(changes)}"


def _dry_run_row(item: DryRunItem) -> tuple[str, str, str, str]:
    name = item.filename or ""
    if item.now is None or item.then is None:
        detail = f"{item.problem.code}: {item.problem.detail}" if item.problem else ""
        return name, "error", "error", detail
    return name, item.now.verdict, item.then.verdict, in_words(item.then.reasons)


def read(file: Path, most: int) -> bytes:
    """Read a file, at most one byte more than is allowed; raises ImageUndecodable."""
    try:
        with file.open("rb") as stream:
            return stream.read(most + 1)
    except OSError as error:
        raise ImageUndecodable(
            f"the file cannot be read ({error.strerror}); check its permissions"
        ) from error


def exit_status(lines: Sequence[Line]) -> int:
    """0 if every image passed, 1 if one did not, 2 if one could not be inspected or there was none."""
    if not lines or any(isinstance(line.outcome, PasslineError) for line in lines):
        return TROUBLE
    passed = all(
        isinstance(line.outcome, InspectionAnswer) and line.outcome.verdict == "pass" for line in lines
    )
    return ALL_PASS if passed else SOME_NOT


def verdict_cells(answer: dict[str, object]) -> tuple[str, str, str]:
    """Verdict, reasons and milliseconds of an answer in JSON form, for a table."""
    reasons = answer["reasons"]
    timings = answer["timings_ms"]
    assert isinstance(timings, dict)
    return str(answer["verdict"]), in_words(REASONS.validate_python(reasons)), f"{timings['total']:.0f}"


def in_words(reasons: Iterable[Reason]) -> str:
    """The reasons of a verdict as text."""
    return "; ".join(map(sentence, reasons))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows below a header, in columns as wide as their widest cell."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)

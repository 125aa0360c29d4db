"""The dry run of a recipe on files, and its table."""

from collections.abc import Sequence
from pathlib import Path

from app.commands.folder import in_words, read, table
from app.inspection.errors import PasslineError
from app.inspection.rules.recipe import Recipe
from app.jobs.dry_run import Both, compare, dry_run_answer, dry_run_item, in_force
from app.jobs.job import Upload
from app.jobs.loading import Loaded
from app.problems import problem_of
from app.schemas.inspections import Labels, Options, Problem
from app.schemas.recipes import DryRunAnswer, DryRunItem


def dry_run_folder(
    loaded: Loaded, candidate: Recipe, files: Sequence[Path], recipe: str | None
) -> DryRunAnswer:
    """Compare files, one after the other; `recipe` names what to compare with, as the label does."""
    now = loaded.recipes.find(recipe) if recipe else in_force(loaded.recipes, candidate, Labels())

    def one(file: Path) -> Both | Problem:
        try:
            upload = Upload(file.name, read(file, loaded.inspector.limits.max_bytes))
            return compare(candidate, loaded.job(upload, Options(mask="none"), now))
        except PasslineError as error:
            return problem_of(error)

    return dry_run_answer(now, candidate, [dry_run_item(str(file), one(file)) for file in files])


def as_table(answer: DryRunAnswer) -> str:
    """A row for each picture, and below them what would change."""
    changes = [f"{count} {change.replace('_', ' ')}" for change, count in answer.counts.changes.items()]
    by = f"{answer.candidate} in the place of {answer.recipe} version {answer.recipe_version}"
    summary = f"{by}: {answer.counts.changed} of {answer.counts.images} verdicts change"
    lines = table(("picture", "now", "then", "decided by"), map(_row, answer.results))
    return f"{lines}\n{summary}{': ' if changes else ''}{', '.join(changes)}"


def _row(item: DryRunItem) -> tuple[str, str, str, str]:
    name = item.filename or ""
    if item.now is None or item.then is None:
        detail = f"{item.problem.code}: {item.problem.detail}" if item.problem else ""
        return name, "error", "error", detail
    return name, item.now.verdict, item.then.verdict, in_words(item.then.reasons)

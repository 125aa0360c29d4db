"""What would have changed: pictures judged by the recipe in force and by a candidate for its place."""

import asyncio
import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from app.commands.folder import in_words, read, table
from app.inspection.errors import PasslineError
from app.inspection.rules.recipe import Recipe
from app.jobs.job import Order, Submission, Upload
from app.jobs.judging import judge
from app.jobs.loading import Loaded
from app.problems import problem_of
from app.recipes.state import Known, Recipes
from app.schemas.inspections import InspectionAnswer, Labels, Options, Problem
from app.schemas.recipes import DryRunAnswer, DryRunCounts, DryRunItem, Judged
from app.service import Service

Both = tuple[Judged, Judged]


async def dry_run(service: Service, submission: Submission, deadline: float) -> DryRunAnswer:
    """Compare for each picture by itself, as a batch; raises RecipeInvalid or RecipeUnknown for all of it."""
    loaded = service.loaded
    candidate = await asyncio.to_thread(loaded.state.candidate, submission.candidate)  # YAML is slow to read
    now = in_force(loaded.recipes, candidate, submission.options)

    async def one(upload: Upload) -> Both:
        order = loaded.order(upload, submission.options, now)
        return await service.run_when_room(functools.partial(compare, candidate), order, deadline)

    def item(upload: Upload, outcome: Both | BaseException) -> DryRunItem:
        known = service.problem(outcome) if isinstance(outcome, BaseException) else outcome
        return _item(upload.filename, known)

    done = await service.in_turn(one, submission.pictures)
    pairs = zip(submission.pictures, done, strict=True)
    return _answer(now, candidate, [item(*pair) for pair in pairs])


def dry_run_folder(
    loaded: Loaded, candidate: Recipe, files: Sequence[Path], recipe: str | None
) -> DryRunAnswer:
    """The same for files, one after the other; `recipe` names what to compare with, as the label does."""
    now = loaded.recipes.find(recipe) if recipe else in_force(loaded.recipes, candidate, Labels())

    def one(file: Path) -> Both | Problem:
        try:
            upload = Upload(file.name, read(file, loaded.inspector.limits.max_bytes))
            return compare(candidate, loaded.order(upload, Options(mask="none"), now))
        except PasslineError as error:
            return problem_of(error)

    return _answer(now, candidate, [_item(str(file), one(file)) for file in files])


def in_force(recipes: Recipes, candidate: Recipe, labels: Labels) -> Known:
    """What a candidate is compared with; raises RecipeUnknown.

    It is the recipe that the labels name, else the candidate's namesake, else what is active for the labels.
    """
    if labels.recipe is None and candidate.name in recipes.names:
        return recipes.find(candidate.name)
    return recipes.choose(labels)


def compare(candidate: Recipe, order: Order) -> Both:
    """Judge a picture by its order's recipe and by the candidate; raises a PasslineError.

    Each time from the pixels on, so that all that a recipe decides is decided as it would be at the line.
    """
    now = judge(order)
    order.check()
    return _judged(now), _judged(judge(replace(order, recipe=candidate)))


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
    return name, item.now.verdict, item.then.verdict, in_words(item.then.model_dump(mode="json")["reasons"])


def _judged(answer: InspectionAnswer) -> Judged:
    return Judged(verdict=answer.verdict, reasons=answer.reasons)


def _item(filename: str | None, outcome: Both | Problem) -> DryRunItem:
    if isinstance(outcome, Problem):
        return DryRunItem(filename=filename, now=None, then=None, problem=outcome)
    return DryRunItem(filename=filename, now=outcome[0], then=outcome[1], problem=None)


def _answer(now: Known, candidate: Recipe, items: list[DryRunItem]) -> DryRunAnswer:
    judged = [(item.now.verdict, item.then.verdict) for item in items if item.now and item.then]
    changes = Counter(f"{before}_to_{after}" for before, after in judged if before != after)
    counts = DryRunCounts(
        images=len(items),
        unchanged=len(judged) - changes.total(),
        changed=changes.total(),
        problems=len(items) - len(judged),
        changes=dict(changes),
    )
    return DryRunAnswer(
        recipe=now.recipe.name,
        recipe_version=now.version,
        candidate=candidate.name,
        counts=counts,
        results=items,
    )

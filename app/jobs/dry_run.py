"""Dry run: an image inspected with the recipe in force and with a candidate in its place."""

from collections import Counter
from dataclasses import replace

from app.inspection.rules.recipe import Recipe
from app.jobs.answers import inspect_job
from app.jobs.job import Job
from app.recipes.state import Known, Recipes
from app.schemas.inspections import InspectionAnswer, Labels, Problem
from app.schemas.recipes import DryRunAnswer, DryRunCounts, DryRunItem, Judged

Both = tuple[Judged, Judged]


def in_force(recipes: Recipes, candidate: Recipe, labels: Labels) -> Known:
    """The recipe that a candidate is compared with; raises RecipeUnknown.

    It is the recipe that the labels name, else that of the candidate's name, else the active one.
    """
    if labels.recipe is None and candidate.name in recipes.names:
        return recipes.find(candidate.name)
    return recipes.choose(labels)


def compare(candidate: Recipe, job: Job) -> Both:
    """Inspect an image with its job's recipe and with the candidate; raises a PasslineError.

    Both start from the pixels, so everything that a recipe decides is decided as in production.
    """
    now = inspect_job(job)
    job.check()
    return _judged(now), _judged(inspect_job(replace(job, recipe=candidate)))


def _judged(answer: InspectionAnswer) -> Judged:
    return Judged(verdict=answer.verdict, reasons=answer.reasons)


def dry_run_item(filename: str | None, outcome: Both | Problem) -> DryRunItem:
    """The answer for one image: both verdicts, or the problem instead."""
    if isinstance(outcome, Problem):
        return DryRunItem(filename=filename, now=None, then=None, problem=outcome)
    return DryRunItem(filename=filename, now=outcome[0], then=outcome[1], problem=None)


def dry_run_answer(now: Known, candidate: Recipe, items: list[DryRunItem]) -> DryRunAnswer:
    """The whole answer: one item per image, and how many verdicts change in which way."""
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

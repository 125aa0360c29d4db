"""Shapes of the recipe endpoints: versions, activations and the dry run."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from app.inspection.results import Reason, Verdict
from app.inspection.rules.recipe import Recipe
from app.schemas.inspections import Label, Problem, Shape

# A part's whole id, or its beginning followed by one `*`.
PartPattern = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f*]*\*?$")]
Why = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]
How = Literal["bundle", "file", "http"]


class By(Shape):
    """The query of a change: who made it and why, unverified; only the API key proves who it was."""

    who: Label | None = Field(default=None, description="Who makes the change; kept with the version.")
    why: Why | None = Field(default=None, description="Why; kept with the version.")


class VersionWanted(Shape):
    """The query of one recipe."""

    version: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="An earlier version; unset: the one in force."
    )


class Activations(Shape):
    """Which recipe applies to a request that names none: its part's, else its camera's, else the default."""

    default: Label | None = Field(
        default=None, description="null: PASSLINE_DEFAULT_RECIPE, else the bundle's own recipe."
    )
    cameras: dict[Label, Label] = Field(default_factory=dict, description="Recipe by `camera_id`.")
    parts: dict[PartPattern, Label] = Field(
        default_factory=dict,
        description="Recipe by `part_id`, or by its beginning followed by `*`; the longest match wins.",
    )


class ActivationsAnswer(Activations):
    """The activations in their version `version`; 0 if nothing has been activated yet."""

    version: int
    when: AwareDatetime | None
    who: str | None
    why: str | None
    key: str | None = Field(description="Name of the API key used; null if none was needed.")


class Active(Shape):
    """Where a recipe applies to requests that name none."""

    default: bool
    cameras: tuple[str, ...]
    parts: tuple[str, ...]


class VersionAnswer(Shape):
    """One version of a recipe, without its content."""

    name: str
    version: int
    when: AwareDatetime
    who: str | None
    why: str | None
    key: str | None = Field(description="Name of the API key used; null if none was needed.")
    how: How = Field(description="Origin: `bundle`, `file` (edited by hand in the folder) or `http`.")
    deleted: bool = Field(description="Whether this version is the deletion of the recipe.")


class RecipeEntry(VersionAnswer):
    """One recipe of the list, in the version in force."""

    active: Active
    misfit: str | None = Field(
        description="Why the version in force cannot be used with this bundle; null if it can."
    )


class RecipeAnswer(RecipeEntry):
    """One recipe: its text as sent, and as parsed, with every default filled in."""

    text: str
    recipe: Recipe


class RecipesAnswer(Shape):
    """Every recipe, by name."""

    recipes: list[RecipeEntry]


class VersionsAnswer(Shape):
    """Every version of one recipe, oldest first; a deleted recipe keeps its versions."""

    versions: list[VersionAnswer]


class Judged(Shape):
    """The result of one of the two recipes of a dry run for an image."""

    verdict: Verdict
    reasons: tuple[Reason, ...]


class DryRunItem(Shape):
    """One image of a dry run: both verdicts, or its problem."""

    filename: str | None
    now: Judged | None
    then: Judged | None
    problem: Problem | None


class DryRunCounts(Shape):
    """Number of images by result; `changes` counts each change, such as `pass_to_fail`."""

    images: int
    unchanged: int
    changed: int
    problems: int
    changes: dict[str, int]


class DryRunAnswer(Shape):
    """What would have changed if `candidate` had been used instead of `recipe`."""

    recipe: str
    recipe_version: int
    candidate: str
    counts: DryRunCounts
    results: list[DryRunItem]

"""Shapes of recipes over HTTP: their versions, what is active where, and the dry run."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from app.inspection.results import Reason, Verdict
from app.inspection.rules.recipe import Recipe
from app.schemas.inspections import Label, Problem, Shape

# The whole of a part's id, or how it begins, ended by the one star there may be.
PartPattern = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f*]*\*?$")]
Why = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]
How = Literal["bundle", "file", "http"]


class By(Shape):
    """The query of a change: who made it and why, as they say; only the API key proves something."""

    who: Label | None = Field(default=None, description="Who makes the change; kept with the version.")
    why: Why | None = Field(default=None, description="Why; kept with the version.")


class VersionWanted(Shape):
    """The query of one recipe."""

    version: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="An earlier version; unset: the one in force."
    )


class Activations(Shape):
    """Which recipe judges a request that names none: by its part, else its camera, else the default."""

    default: Label | None = Field(
        default=None, description="null: PASSLINE_DEFAULT_RECIPE, and without that the bundle's own recipe."
    )
    cameras: dict[Label, Label] = Field(default_factory=dict, description="Recipe by `camera_id`.")
    parts: dict[PartPattern, Label] = Field(
        default_factory=dict,
        description="Recipe by `part_id`, or by how it begins with a `*` after that; the longest wins.",
    )


class ActivationsAnswer(Activations):
    """What is active, as version `version`; 0 where nothing has been activated yet."""

    version: int
    when: AwareDatetime | None
    who: str | None
    why: str | None
    key: str | None = Field(description="Name of the API key it was made with; null where none was needed.")


class Active(Shape):
    """Where a recipe judges requests that name none."""

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
    key: str | None = Field(description="Name of the API key it was made with; null where none was needed.")
    how: How = Field(description="`bundle`: came with it; `file`: made by hand in the folder; `http`.")
    deleted: bool = Field(description="Whether this version is the recipe's end.")


class RecipeEntry(VersionAnswer):
    """One recipe of the list, in the version that is in force."""

    active: Active
    misfit: str | None = Field(
        description="Why the version in force cannot be used with this bundle; null where it can."
    )


class RecipeAnswer(RecipeEntry):
    """One recipe: as its text was given, and as it is understood, with every default filled in."""

    text: str
    recipe: Recipe


class RecipesAnswer(Shape):
    """Every recipe there is, by name."""

    recipes: list[RecipeEntry]


class VersionsAnswer(Shape):
    """Every version of one recipe, the oldest first; one that was deleted keeps its own."""

    versions: list[VersionAnswer]


class Judged(Shape):
    """What one of the two recipes of a dry run says of an image."""

    verdict: Verdict
    reasons: tuple[Reason, ...]


class DryRunItem(Shape):
    """One image of a dry run: both verdicts, or its problem."""

    filename: str | None
    now: Judged | None
    then: Judged | None
    problem: Problem | None


class DryRunCounts(Shape):
    """How many images a change would touch; `changes` counts each, such as `pass_to_fail`."""

    images: int
    unchanged: int
    changed: int
    problems: int
    changes: dict[str, int]


class DryRunAnswer(Shape):
    """What would have changed if `candidate` had judged in the place of `recipe`."""

    recipe: str
    recipe_version: int
    candidate: str
    counts: DryRunCounts
    results: list[DryRunItem]

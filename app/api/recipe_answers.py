"""From versions of recipes and activations to what the service answers."""

from app.inspection.rules.recipe import parse_recipe
from app.recipes.history import ActivationsChange, RecipeChange
from app.recipes.state import State
from app.schemas.recipes import (
    ActivationsAnswer,
    Active,
    RecipeAnswer,
    RecipeEntry,
    RecipesAnswer,
    VersionAnswer,
)


def version_answer(change: RecipeChange) -> VersionAnswer:
    """A version without its content."""
    return VersionAnswer(
        **change.model_dump(include={"name", "version", "when", "who", "why", "key", "how"}),
        deleted=change.text is None,
    )


def recipe_entry(state: State, change: RecipeChange) -> RecipeEntry:
    """A version and where it is active: an earlier one is so nowhere."""
    is_in_force = state.versions_of(change.name)[-1] is change
    active = state.recipes.active(change.name) if is_in_force else Active(default=False, cameras=(), parts=())
    misfit = state.recipes.misfit(change.name) if is_in_force else None
    return RecipeEntry(**version_answer(change).model_dump(), active=active, misfit=misfit)


def recipe_answer(state: State, change: RecipeChange) -> RecipeAnswer:
    """A version in full; raises RecipeInvalid where its text is no recipe any more by today's schema."""
    text = change.text or ""
    recipe = parse_recipe(text, f"recipe {change.name} version {change.version}")
    entry = recipe_entry(state, change)
    about = version_answer(change).model_dump()
    return RecipeAnswer(**about, active=entry.active, misfit=entry.misfit, text=text, recipe=recipe)


def recipes_answer(state: State) -> RecipesAnswer:
    """Every recipe in the version that is in force."""
    names = state.recipes.names
    return RecipesAnswer(recipes=[recipe_entry(state, state.version(name, None)) for name in names])


def activations_answer(change: ActivationsChange | None) -> ActivationsAnswer:
    """What is active; without a change nothing is, so that the default of the settings judges."""
    if change is None:
        return ActivationsAnswer(version=0, when=None, who=None, why=None, key=None)
    about = change.model_dump(include={"version", "when", "who", "why", "key"})
    return ActivationsAnswer(**change.activations.model_dump(), **about)

"""What judges at one moment, by which recipes, and what a change to that is made to."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.errors import RecipeNotFound, VersionStale
from app.inspection.bundle.fit import check_fit
from app.inspection.inspector import Inspector
from app.inspection.rules.recipe import Recipe, Written, read_recipe
from app.recipes.history import ActivationsChange, RecipeChange
from app.recipes.snapshot import Recipes
from app.schemas.recipes import By

SENT = "the recipe sent"  # what a request's recipe is called in messages


@dataclass(frozen=True, slots=True)
class Edit:
    """Who changes something and why, and the version it must have until then: the request's `If-Match`.

    `key` is the name of the API key shown, which `by` need not agree with.
    """

    by: By
    if_match: str | None = None
    key: str | None = None

    def check(self, version: int, what: str) -> None:
        """Raise VersionStale unless that version, 0 where there is nothing, is what the change is made to."""
        tags = {tag.strip() for tag in (self.if_match or "").split(",")}
        if self.if_match is None or f'"{version}"' in tags or ("*" in tags and version):
            return
        raise VersionStale(
            f'{what} is at version "{version}" and If-Match asks for {self.if_match}; read it again first'
        )


@dataclass(frozen=True, slots=True)
class State:
    """Everything at one moment; `versions` has those of deleted recipes too, the oldest first.

    What judges and what it judges by change together, in one assignment of a state.
    """

    inspector: Inspector
    versions: Mapping[str, tuple[RecipeChange, ...]]
    activations: ActivationsChange | None
    recipes: Recipes

    def versions_of(self, name: str) -> tuple[RecipeChange, ...]:
        """Every version of a recipe; raises RecipeNotFound if there never was one of that name."""
        if name not in self.versions:
            raise RecipeNotFound(f"there is no recipe {name!r}; GET /v1/recipes lists them")
        return self.versions[name]

    def version(self, name: str, number: int | None) -> RecipeChange:
        """A version with a text, by default the one in force; raises RecipeNotFound."""
        versions = self.versions_of(name)
        if number is not None and number > len(versions):
            raise RecipeNotFound(f"recipe {name!r} has no version {number}; its last one is {len(versions)}")
        wanted = versions[(number or len(versions)) - 1]
        if wanted.text is None:
            raise RecipeNotFound(
                f"recipe {name!r} was deleted in version {wanted.version}; earlier ones can still be read"
            )
        return wanted

    def candidate(self, text: str) -> Recipe:
        """A recipe that could be put; raises RecipeInvalid."""
        return fitting(read_recipe(text, SENT), self.inspector)


def fitting(written: Written, inspector: Inspector) -> Recipe:
    """A recipe that fits the inspector's bundle; raises RecipeInvalid where it does not."""
    check_fit(written, inspector.bundle.class_names, inspector.session.artifact.operating_point)
    return written.recipe

"""The active inspector, its recipes and their versions, and the version check for a change."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from app.change_errors import RecipeNotFound, VersionStale
from app.inspection.bundle.artifact import OperatingPoint
from app.inspection.errors import RecipeInvalid, RecipeUnknown
from app.inspection.inspector import Inspector
from app.inspection.rules.part_model import resolve_parts
from app.inspection.rules.recipe import Recipe, Written, no_class, read_recipe, unknown_classes
from app.inspection.rules.recipe_text import field_at
from app.inspection.rules.trade_off import resolve
from app.recipes.history import ActivationsChange, ActiveRecipes, RecipeChange
from app.schemas.inspections import Labels
from app.schemas.recipes import Active, By

SENT = "the recipe sent"  # what a request's recipe is called in messages


@dataclass(frozen=True, slots=True)
class Known:
    """A recipe in the version that is in force."""

    recipe: Recipe
    version: int


@dataclass(frozen=True, slots=True)
class Misfit:
    """A recipe that is kept but cannot be used with this bundle, and why."""

    reason: str


class Recipes:
    """A snapshot of recipes by name and of what is active; a change makes another snapshot.

    So an inspection goes on with what it began with, and nobody waits for a lock.
    """

    def __init__(self, known: Mapping[str, Known | Misfit], default: str, activations: ActiveRecipes) -> None:
        """Take all of it; `default` is in force where `activations` has none.

        Raises RecipeUnknown if a recipe in force is not there; one that does not fit is left to `check`.
        """
        self._known = known
        self.fallback = default
        self._activations = activations
        self.default_name = activations.default or default
        # The longest pattern first, and of two that are as long the whole id before the beginning of many.
        self._parts = sorted(activations.parts.items(), key=lambda part: (-len(part[0].rstrip("*")), part[0]))
        in_force = {self.default_name, *activations.cameras.values(), *activations.parts.values()}
        found = {name: self._look_up(name) for name in sorted(in_force)}
        self._misfits = {name: each.reason for name, each in found.items() if isinstance(each, Misfit)}

    def check(self) -> None:
        """Raise RecipeInvalid where recipes in force cannot be used with this bundle; names all of them."""
        if self._misfits:
            which = "; ".join(f"recipe {name!r}: {reason}" for name, reason in self._misfits.items())
            raise RecipeInvalid(
                f"what is active must fit the bundle, and this does not: {which}. Mend it with PUT "
                "/v1/recipes/NAME or in its file, or have another one active: PUT /v1/activations, or "
                "PASSLINE_DEFAULT_RECIPE where nothing else is the default"
            )

    @property
    def names(self) -> list[str]:
        """Every name, sorted."""
        return sorted(self._known)

    @property
    def default(self) -> Recipe:
        """The recipe for requests that name none, of no part or camera with a recipe of its own."""
        return self.find(self.default_name).recipe

    def find(self, name: str | None) -> Known:
        """The recipe of that name, or the default for None; raises RecipeUnknown or RecipeInvalid."""
        name = self.default_name if name is None else name
        found = self._look_up(name)
        if isinstance(found, Misfit):
            raise RecipeInvalid(f"recipe {name!r} cannot be used with this bundle: {found.reason}")
        return found

    def misfit(self, name: str) -> str | None:
        """Why a recipe cannot be used with this bundle; None where it can."""
        found = self._known.get(name)
        return found.reason if isinstance(found, Misfit) else None

    def _look_up(self, name: str) -> Known | Misfit:
        if name not in self._known:
            raise RecipeUnknown(f"there is no recipe {name!r}; the recipes are {', '.join(self.names)}")
        return self._known[name]

    def choose(self, labels: Labels) -> Known:
        """The recipe a request names, else its part's, its camera's, the default; raises as `find`."""
        by_part = (name for pattern, name in self._parts if _matches(pattern, labels.part_id))
        by_camera = self._activations.cameras.get(labels.camera_id or "")
        return self.find(labels.recipe or next(by_part, None) or by_camera)

    def active(self, name: str) -> Active:
        """Where a recipe judges requests that name none."""
        return Active(
            default=self.default_name == name,
            cameras=tuple(camera for camera, each in self._activations.cameras.items() if each == name),
            parts=tuple(part for part, each in self._activations.parts.items() if each == name),
        )

    def with_recipe(self, name: str, known: Known | None) -> "Recipes":
        """The snapshot after a change of one recipe, or its end (None); raises RecipeUnknown if active."""
        others = {each: self._known[each] for each in self._known if each != name}
        changed = others if known is None else others | {name: known}
        return Recipes(changed, self.fallback, self._activations)

    def with_activations(self, activations: ActiveRecipes) -> "Recipes":
        """The snapshot after a change of what is active; raises RecipeUnknown or RecipeInvalid."""
        changed = Recipes(self._known, self.fallback, activations)
        changed.check()
        return changed


def _matches(pattern: str, part_id: str | None) -> bool:
    if part_id is None:
        return False
    return part_id.startswith(pattern[:-1]) if pattern.endswith("*") else part_id == pattern


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

    The inspector and its recipes change together, by assigning a new state.
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


def check_fit(written: Written, classes: Iterable[str], point: OperatingPoint) -> None:
    """Check a recipe against a bundle's classes and the operating point of its artifact in use.

    Raises RecipeInvalid with the source, and the line and field of everything that does not fit.
    """
    misfits = list(_misfits(written, tuple(classes), point))
    if misfits:
        raise RecipeInvalid(f"{written.source}: {'; '.join(misfits)}")


def _misfits(written: Written, classes: tuple[str, ...], point: OperatingPoint) -> Iterator[str]:
    recipe, line_of = written.recipe, written.document.line_of
    unknown = unknown_classes(recipe, classes)
    for place in unknown[:-1]:
        yield f"{field_at(place, line_of(place))}: no defect class of this model"
    for place in unknown[-1:]:  # the classes there are, once
        yield f"{field_at(place, line_of(place))}: {no_class(classes)}"
    choice = recipe.operating_point
    if choice is not None:
        try:
            resolve(choice, point.trade_off)
        except RecipeInvalid as error:  # which names the field itself
            yield _at(line_of(("operating_point", choice.asked)), str(error))
    try:
        resolve_parts(recipe.parts, point.parts)
    except RecipeInvalid as error:
        yield _at(line_of(("parts",)), str(error))


def _at(line: int | None, what: str) -> str:
    return what if line is None else f"line {line}: {what}"

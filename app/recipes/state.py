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
    """A recipe in the version in force."""

    recipe: Recipe
    version: int


@dataclass(frozen=True, slots=True)
class Misfit:
    """A stored recipe that cannot be used with this bundle, and why."""

    reason: str


class Recipes:
    """A snapshot of recipes by name and of the activations; a change makes a new snapshot.

    So an inspection finishes with the snapshot it started with, and needs no lock.
    """

    def __init__(self, known: Mapping[str, Known | Misfit], default: str, activations: ActiveRecipes) -> None:
        """Make a snapshot; `default` applies if `activations` has no default.

        Raises RecipeUnknown if a recipe in force does not exist; `check` tests whether they fit the bundle.
        """
        self._known = known
        self.fallback = default
        self._activations = activations
        self.default_name = activations.default or default
        # The longest pattern first; of two equally long ones, the whole id before the prefix.
        self._parts = sorted(activations.parts.items(), key=lambda part: (-len(part[0].rstrip("*")), part[0]))
        in_force = {self.default_name, *activations.cameras.values(), *activations.parts.values()}
        found = {name: self._look_up(name) for name in sorted(in_force)}
        self._misfits = {name: each.reason for name, each in found.items() if isinstance(each, Misfit)}

    def check(self) -> None:
        """Raise RecipeInvalid if recipes in force cannot be used with this bundle; names all of them."""
        if self._misfits:
            which = "; ".join(f"recipe {name!r}: {reason}" for name, reason in self._misfits.items())
            raise RecipeInvalid(
                f"active recipes must fit the bundle, and these do not: {which}. Correct them with PUT "
                "/v1/recipes/NAME or in their files, or activate others with PUT /v1/activations or, if no "
                "default is activated, with PASSLINE_DEFAULT_RECIPE"
            )

    @property
    def names(self) -> list[str]:
        """Every name, sorted."""
        return sorted(self._known)

    @property
    def default(self) -> Recipe:
        """The recipe for requests that name none, if their part and camera have none either."""
        return self.find(self.default_name).recipe

    def find(self, name: str | None) -> Known:
        """The recipe of that name, or the default for None; raises RecipeUnknown or RecipeInvalid."""
        name = self.default_name if name is None else name
        found = self._look_up(name)
        if isinstance(found, Misfit):
            raise RecipeInvalid(f"recipe {name!r} cannot be used with this bundle: {found.reason}")
        return found

    def misfit(self, name: str) -> str | None:
        """Why a recipe cannot be used with this bundle; None if it can."""
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
        """Where a recipe applies to requests that name none."""
        return Active(
            default=self.default_name == name,
            cameras=tuple(camera for camera, each in self._activations.cameras.items() if each == name),
            parts=tuple(part for part, each in self._activations.parts.items() if each == name),
        )

    def with_recipe(self, name: str, known: Known | None) -> "Recipes":
        """The snapshot after a change of one recipe, or without it (None); raises RecipeUnknown if active."""
        others = {each: self._known[each] for each in self._known if each != name}
        changed = others if known is None else others | {name: known}
        return Recipes(changed, self.fallback, self._activations)

    def with_activations(self, activations: ActiveRecipes) -> "Recipes":
        """The snapshot after a change of activations; raises RecipeUnknown or RecipeInvalid."""
        changed = Recipes(self._known, self.fallback, activations)
        changed.check()
        return changed


def _matches(pattern: str, part_id: str | None) -> bool:
    if part_id is None:
        return False
    return part_id.startswith(pattern[:-1]) if pattern.endswith("*") else part_id == pattern


@dataclass(frozen=True, slots=True)
class Edit:
    """A requested change: who and why, and the version that must still be in force (`If-Match`).

    `key` is the name of the API key used, which `by` need not agree with.
    """

    by: By
    if_match: str | None = None
    key: str | None = None

    def check(self, version: int, what: str) -> None:
        """Raise VersionStale unless `If-Match` allows to change this version (0: there is none yet)."""
        tags = {tag.strip() for tag in (self.if_match or "").split(",")}
        if self.if_match is None or f'"{version}"' in tags or ("*" in tags and version):
            return
        raise VersionStale(
            f'{what} is at version "{version}" and If-Match asks for {self.if_match}; read it again first'
        )


@dataclass(frozen=True, slots=True)
class State:
    """Everything at one moment; `versions` includes those of deleted recipes, oldest first.

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
        """A recipe that is valid and fits the bundle; raises RecipeInvalid."""
        return fitting(read_recipe(text, SENT), self.inspector)


def fitting(written: Written, inspector: Inspector) -> Recipe:
    """A recipe that fits the inspector's bundle; raises RecipeInvalid if it does not."""
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
    for place in unknown[-1:]:  # lists the known classes, once
        yield f"{field_at(place, line_of(place))}: {no_class(classes)}"
    choice = recipe.operating_point
    if choice is not None:
        try:
            resolve(choice, point.trade_off)
        except RecipeInvalid as error:  # its message names the field
            yield _at(line_of(("operating_point", choice.asked)), str(error))
    try:
        resolve_parts(recipe.parts, point.parts)
    except RecipeInvalid as error:
        yield _at(line_of(("parts",)), str(error))


def _at(line: int | None, what: str) -> str:
    return what if line is None else f"line {line}: {what}"

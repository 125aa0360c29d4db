"""A service's recipes with all versions: the bundle's own, files edited by hand, changes over HTTP."""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from app.change_errors import RecipeInUse, VersionStale
from app.database.errors import DatabaseUnusable
from app.inspection.bundle.bundle import Bundle
from app.inspection.errors import RecipeInvalid
from app.inspection.inspector import Inspector
from app.inspection.rules.recipe import read_recipe
from app.recipes.history import (
    ActivationsChange,
    ActiveRecipes,
    AnyChange,
    HandMade,
    History,
    RecipeChange,
    news,
    read_hand_made,
)
from app.recipes.state import SENT, Edit, Known, Misfit, Recipes, State, fitting
from app.schemas.recipes import Active

OnChange = Callable[[AnyChange], None]
log = logging.getLogger(__name__)


class RecipeStore:
    """Recipes and their versions. Read `state` without a lock; changes are made one at a time.

    The active inspector is part of the state: it and the recipes checked against it change together.
    """

    def __init__(
        self,
        inspector: Inspector,
        history: History,
        default: str | None,
        on_change: OnChange = lambda _: None,
    ) -> None:
        """Read everything and write nothing; raises RecipeInvalid or RecipeUnknown.

        A recipe that does not fit the bundle is kept; `state.recipes.check` raises if it is in force.
        `on_change` is called with every change once it is in force, on the thread that made it.
        """
        self._on_change = on_change
        self._default = default
        self._lock = threading.Lock()
        self._history = history
        changes = history.read()
        stored = _by_name(changes)
        activated = [change for change in changes if isinstance(change, ActivationsChange)]
        self._files = read_hand_made(history.folder)
        self._unkept = list(news(self._files, stored))
        for change in self._unkept:
            stored[change.name].append(change)
        self._stored: Mapping[str, tuple[RecipeChange, ...]] = {
            name: tuple(each) for name, each in stored.items()
        }
        self.state = self._state(inspector, activated[-1] if activated else None)

    def state_with(self, inspector: Inspector) -> State:
        """The state as it would be with `inspector` active; raises RecipeInvalid or RecipeUnknown.

        As at the start, `recipes.check` tests whether the recipes in force fit.
        """
        return self._state(inspector, self.state.activations)

    def serve(self, inspector: Inspector, keep: Callable[[], None]) -> None:
        """Make `inspector` active after `keep` has written that down.

        Raises RecipeInvalid or RecipeUnknown where recipes in force do not fit it, and what `keep` raises;
        then nothing has changed. Inspections in progress finish with the inspector they began with.
        """
        with self._lock:  # a recipe changed meanwhile waits, and must fit the new bundle
            state = self.state_with(inspector)
            state.recipes.check()
            keep()
            self.state = state

    def _state(self, inspector: Inspector, activations: ActivationsChange | None) -> State:
        own = inspector.bundle.default_recipe.name
        for change in self._stored.get(own, ())[-1:]:
            if change.text is not None:
                raise RecipeInvalid(
                    f"{_source(change, self._files)}: there is a recipe {own!r} already, the bundle's; "
                    "give each its own name"
                )
        versions = {**self._stored, own: (_of_bundle(inspector.bundle),)}
        known = {
            name: _known(last.text, _source(last, self._files), last.version, inspector)
            for name, (*_, last) in versions.items()
            if last.text is not None
        }
        active = ActiveRecipes() if activations is None else activations.activations
        return State(inspector, versions, activations, Recipes(known, self._default or own, active))

    def keep_hand_made(self) -> None:
        """Store versions made by hand, so that a version number always means the same text."""
        with self._lock:
            try:
                self._keep_hand_made()
            except (DatabaseUnusable, VersionStale) as error:
                log.warning("versions made by hand are not kept", extra={"reason": str(error)})

    def put(self, name: str, text: str, edit: Edit) -> RecipeChange:
        """Make a recipe's next version; sending the text in force again makes none.

        Raises RecipeInvalid, RecipeInUse (the bundle's own), VersionStale or DatabaseUnusable.
        """
        written = read_recipe(text, SENT)  # outside the lock, because YAML is slow to read
        with self._lock:
            recipe = fitting(written, self.state.inspector)
            if recipe.name != name:
                raise RecipeInvalid(
                    f"the recipe sent is named {recipe.name!r} and its address {name!r}; use one name"
                )
            past = self._past(name, edit)
            if past and past[-1].text == text:
                return past[-1]
            change = _over_http(name, len(past) + 1, text, edit)
            self._keep(change, self.state.recipes.with_recipe(name, Known(recipe, change.version)))
            return change

    def delete(self, name: str, edit: Edit) -> RecipeChange:
        """Delete a recipe; its versions can still be read.

        Raises RecipeNotFound, RecipeInUse (active, or the bundle's or the settings' default), VersionStale or
        DatabaseUnusable.
        """
        with self._lock:
            self.state.version(name, None)
            past = self._past(name, edit)
            recipes = self.state.recipes
            if name == recipes.fallback:  # applies again when no other default is activated
                raise RecipeInUse(
                    f"PASSLINE_DEFAULT_RECIPE is recipe {name!r}; restart with another one there first"
                )
            if recipes.active(name) != Active(default=False, cameras=(), parts=()):
                raise RecipeInUse(
                    f"recipe {name!r} is active; GET /v1/recipes says where; deactivate it first"
                )
            change = _over_http(name, len(past) + 1, None, edit)
            self._keep(change, recipes.with_recipe(name, None))
            return change

    def activate(self, activations: ActiveRecipes, edit: Edit) -> ActivationsChange:
        """Replace the activations.

        Raises RecipeUnknown, RecipeInvalid (one that does not fit), VersionStale or DatabaseUnusable.
        """
        with self._lock:
            last = self.state.activations
            version = 0 if last is None else last.version
            edit.check(version, "what is active")
            change = ActivationsChange(
                version=version + 1,
                when=datetime.now(UTC),
                key=edit.key,
                activations=activations,
                **edit.by.model_dump(),
            )
            self._keep(change, self.state.recipes.with_activations(activations))
            return change

    def _past(self, name: str, edit: Edit) -> tuple[RecipeChange, ...]:
        """A recipe's versions, after checking that it may be changed."""
        if name == self.state.inspector.bundle.default_recipe.name:
            raise RecipeInUse(f"recipe {name!r} belongs to the bundle and never changes; use another name")
        past = self.state.versions.get(name, ())
        edit.check(past[-1].version if past and past[-1].text is not None else 0, f"recipe {name!r}")
        return past

    def _keep(self, change: AnyChange, recipes: Recipes) -> None:
        """Store a change, then put it in force."""
        self._keep_hand_made()
        self._history.append(change)
        if isinstance(change, ActivationsChange):
            self.state = replace(self.state, activations=change, recipes=recipes)
        else:
            past = (*self._stored.get(change.name, ()), change)
            self._stored = {**self._stored, change.name: past}
            versions = {**self.state.versions, change.name: past}
            self.state = replace(self.state, versions=versions, recipes=recipes)
        self._on_change(change)

    def _keep_hand_made(self) -> None:
        while self._unkept:
            self._history.append(self._unkept[0])
            self._on_change(self._unkept.pop(0))


def _known(text: str, source: str, version: int, inspector: Inspector) -> Known | Misfit:
    """Parse and check a stored text; one for another bundle or schema may no longer be usable."""
    try:
        return Known(fitting(read_recipe(text, source), inspector), version)
    except RecipeInvalid as error:
        return Misfit(str(error))


def _by_name(changes: Iterable[AnyChange]) -> dict[str, list[RecipeChange]]:
    versions: dict[str, list[RecipeChange]] = defaultdict(list)
    for change in changes:
        if isinstance(change, RecipeChange):
            if change.version != len(versions[change.name]) + 1:
                raise RecipeInvalid(
                    f"the history lacks a version of recipe {change.name!r}; restore all of its files"
                )
            versions[change.name].append(change)
    return versions


def _source(change: RecipeChange, files: Mapping[str, HandMade]) -> str:
    """Where to find the text of a version: its file, else the history."""
    file = files.get(change.name)
    return file.file if file and file.text == change.text else f"version {change.version}"


def _of_bundle(bundle: Bundle) -> RecipeChange:
    text = bundle.read(bundle.recipe).decode()
    name = bundle.default_recipe.name
    return RecipeChange(version=1, when=bundle.created, name=name, how="bundle", text=text)


def _over_http(name: str, version: int, text: str | None, edit: Edit) -> RecipeChange:
    said = {"when": datetime.now(UTC), "key": edit.key, **edit.by.model_dump()}
    return RecipeChange(version=version, name=name, how="http", text=text, **said)

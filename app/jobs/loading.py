"""Load a bundle with its recipes, self-tested and warmed up."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.database.connection import Database
from app.inspection.bundle.self_test import check_verdicts
from app.inspection.decoding.decode import DecodeLimits
from app.inspection.inspector import Inspector
from app.jobs.answers import inspect_job
from app.jobs.job import Job, Upload
from app.recipes.history import History
from app.recipes.state import Known, Recipes, State
from app.recipes.store import OnChange, RecipeStore
from app.schemas.inspections import Options
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Loaded:
    """The bundle and recipes in use at one moment; a swap or a change does not affect who holds it."""

    store: RecipeStore
    state: State

    @property
    def inspector(self) -> Inspector:
        """The active inspector."""
        return self.state.inspector

    @property
    def recipes(self) -> Recipes:
        """The recipes, checked against the inspector's bundle."""
        return self.state.recipes

    def job(self, upload: Upload, options: Options, chosen: Known | None = None) -> Job:
        """A job with the recipe `chosen`, else the one the options select; raises RecipeUnknown."""
        known = chosen or self.recipes.choose(options)
        return Job(self.inspector, known.recipe, upload, options, recipe_version=known.version)


def load(
    directory: Path, settings: Settings, database: Database | None, on_change: OnChange = lambda _: None
) -> Loaded:
    """Load a bundle with its recipes, ready to inspect; raises a PasslineError.

    The caller must run `recipes.check`.
    """
    inspector = load_inspector(directory, settings)
    store = open_recipes(inspector, settings, database, on_change)
    return Loaded(store, store.state)


def load_inspector(
    directory: Path, settings: Settings, rest: Callable[[float], None] = lambda _: None
) -> Inspector:
    """Load a bundle, run its self-test, resting in between, and warm up; raises a PasslineError."""
    limits = DecodeLimits(max_bytes=settings.max_upload_bytes, max_pixels=settings.max_pixels)
    inspector = Inspector.load(directory, settings.device, settings.threads, limits, settings.engines)
    check_verdicts(inspector.bundle, inspector.session.artifact)
    inspector.self_test(rest)
    # Run every step once, since the first overlay and the first PNG are slow too.
    sample = Upload(None, inspector.bundle.read(inspector.bundle.golden[0].image))
    inspect_job(
        Job(inspector, inspector.bundle.default_recipe, sample, Options(overlay=True, certificate=True))
    )
    return inspector


def open_recipes(
    inspector: Inspector, settings: Settings, database: Database | None, on_change: OnChange
) -> RecipeStore:
    """The recipes of settings and database; raises RecipeInvalid, RecipeUnknown or DatabaseUnusable."""
    history = History(database, settings.recipes_dir)
    return RecipeStore(inspector, history, settings.default_recipe, on_change)

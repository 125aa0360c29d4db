"""The recipes a service knows: the bundle's own and those in a folder."""

from collections.abc import Mapping
from pathlib import Path

from app.inspection.bundle import Bundle
from app.inspection.errors import RecipeInvalid, RecipeUnknown
from app.inspection.recipe import Recipe, check_classes, load_recipe

SUFFIXES = frozenset({".yaml", ".yml", ".json"})


class Recipes:
    """Recipes by name, with the one in force where a request names none."""

    def __init__(self, known: Mapping[str, Recipe], default: str) -> None:
        self._known = known
        self.default = self.find(default)

    @property
    def names(self) -> list[str]:
        """Every name, sorted."""
        return sorted(self._known)

    def find(self, name: str | None) -> Recipe:
        """The recipe of that name, or the default for None; raises RecipeUnknown."""
        if name is None:
            return self.default
        if name not in self._known:
            raise RecipeUnknown(f"there is no recipe {name!r}; the recipes are {', '.join(self.names)}")
        return self._known[name]


def load_recipes(bundle: Bundle, folder: Path | None, default: str | None) -> Recipes:
    """Read all recipes; raises RecipeInvalid, naming the file, for the first one that cannot be used."""
    own = bundle.default_recipe
    known = {own.name: own}
    for path in _files(folder):
        recipe = load_recipe(path)
        check_classes(recipe, bundle.class_names)
        if recipe.name in known:
            raise RecipeInvalid(
                f"{path.name}: there is a recipe {recipe.name!r} already; give each its own name"
            )
        known[recipe.name] = recipe
    return Recipes(known, default or own.name)


def _files(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise RecipeInvalid(f"the recipe folder {folder} cannot be read: {error}") from error

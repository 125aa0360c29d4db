"""Recipes: the acceptance rules of one product, read from YAML or JSON and checked to the last field."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.inspection.errors import RecipeInvalid, RecipeUnknown

MAX_RECIPE_CHARS = 64 * 1024

Count = Annotated[int, Field(ge=0)]
Size = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Limits(BaseModel):
    """The most that is accepted of one defect class: a part fails when any limit that is set is exceeded."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    max_count: Count | None = None
    max_area_px: Size | None = None
    max_area_mm2: Size | None = None
    max_length_px: Size | None = None
    max_length_mm: Size | None = None

    @model_validator(mode="after")
    def _sets_something(self) -> "Limits":
        if all(value is None for value in (self.max_count, *self._sizes())):
            raise ValueError("sets no limit; set at least one of " + ", ".join(type(self).model_fields))
        return self

    def _sizes(self) -> tuple[float | None, ...]:
        return self.max_area_px, self.max_area_mm2, self.max_length_px, self.max_length_mm

    @property
    def in_mm(self) -> bool:
        """Whether a limit is in millimetres, so that a pixel pitch is needed."""
        return self.max_area_mm2 is not None or self.max_length_mm is not None


class Recipe(BaseModel):
    """Acceptance rules of one product; `other` is for every class that `limits` does not name.

    Unless the recipe says otherwise, a class it does not name is not accepted at all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[str, Field(min_length=1, max_length=100)]
    description: str = ""
    pixel_pitch_mm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    limits: dict[str, Limits] = Field(default_factory=dict)
    other: Limits = Limits(max_count=0)

    @model_validator(mode="after")
    def _has_pitch_for_mm(self) -> "Recipe":
        if self.pixel_pitch_mm is None and any(each.in_mm for each in (*self.limits.values(), self.other)):
            raise ValueError("has limits in mm but no pixel_pitch_mm; give mm per pixel, or limits in px")
        return self

    def limits_of(self, defect_class: str) -> Limits:
        """The limits in force for a class."""
        return self.limits.get(defect_class, self.other)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe file; raises RecipeUnknown where there is none and RecipeInvalid where it is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RecipeUnknown(f"there is no recipe file {path.name} in {path.parent}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeInvalid(f"{path.name}: cannot be read as UTF-8 text: {error}") from error
    return parse_recipe(text, path.name)


def parse_recipe(text: str, source: str) -> Recipe:
    """Parse YAML, or JSON where the text starts with a brace; `source` names it in RecipeInvalid."""
    if len(text) > MAX_RECIPE_CHARS:
        raise RecipeInvalid(f"{source}: has {len(text)} characters; at most {MAX_RECIPE_CHARS} are read")
    try:
        if text.lstrip().startswith("{"):
            content = json.loads(text, object_pairs_hook=_unique_pairs)
        else:
            content = yaml.load(text, Loader=_Loader)  # a SafeLoader: it makes plain values only
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: bad JSON, and YAML's dates
        raise RecipeInvalid(f"{source}: is not valid YAML or JSON: {error}") from error
    if not isinstance(content, dict):
        raise RecipeInvalid(f"{source}: must be a mapping with at least `name` and `limits`")
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeInvalid(f"{source}: {describe(error)}") from error


def check_classes(recipe: Recipe, classes: Iterable[str]) -> None:
    """Raise RecipeInvalid if the recipe sets limits for a class that does not exist, as a typo does."""
    known = tuple(classes)
    unknown = [name for name in recipe.limits if name not in known]
    if unknown:
        raise RecipeInvalid(
            f"recipe {recipe.name}: limits for {', '.join(unknown)}, which is no defect class of this model; "
            f"its classes are {', '.join(known)}"
        )


def describe(error: ValidationError) -> str:
    """Every wrong field with what would be right, without the values (they can be large)."""
    wrong = []
    for each in error.errors(include_url=False, include_input=False, include_context=False):
        field = ".".join(map(str, each["loc"])) or "as a whole"
        wrong.append(f"{field}: {each['msg'].removeprefix('Value error, ')}")
    return "; ".join(wrong)


class _Loader(yaml.SafeLoader):
    """Reads plain values as YAML 1.2 does, and refuses a key given twice.

    By YAML 1.1 a limit of 010 is 8 and one of 1:30 is 90, `no` is not a word, and the last of two keys wins,
    which would drop limits without a word.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in seen:
                problem = f"the key {key.value!r} is given twice, or is no plain word"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}
for _kind, _form, _first in (
    ("merge", r"<<", "<"),
    ("null", r"~|null", "~nN"),
    ("bool", r"true|false", "tTfF"),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|(0|[1-9][0-9]*)(?=e))(e[-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|nan)", "-+."),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_form})$", re.I), [*_first])
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^$"), [""])


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key is given twice")
    return content

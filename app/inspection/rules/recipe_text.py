"""Parse the text of a recipe to plain values, with the line number of each."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from app.inspection.errors import RecipeInvalid
from app.inspection.repeats import repeated
from app.inspection.rules.limits import Place

MAX_RECIPE_CHARS = 64 * 1024
MAX_DEPTH = 32  # of nested lists and mappings; a recipe needs eight


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a text, and its YAML nodes for line numbers; None if the lines are unknown."""

    content: Any
    root: yaml.Node | None

    def line_of(self, place: Place) -> int | None:
        """Line number, from 1, of the key or item at a place; if missing, of the enclosing one."""
        if self.root is None:
            return None
        node, mark = self.root, self.root.start_mark
        for step in place:
            found = _below(node, step)
            if found is None:
                break
            node, mark = found
        return mark.line + 1


def _below(node: yaml.Node, step: str | int) -> tuple[yaml.Node, yaml.Mark] | None:
    """The node of a key or an index, and where that key or item begins."""
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step].start_mark
    if isinstance(node, yaml.MappingNode):
        for key, value in reversed(node.value):  # of a duplicate key, report the second
            if key.value == str(step):
                return value, key.start_mark
    return None


def field_at(place: Place, line: int | None) -> str:
    """A field's name in an error: its line, if known, and its place."""
    at = "" if line is None else f"line {line}: "
    return at + (".".join(map(str, place)) or "as a whole")


def read_document(text: str, source: str) -> Document:
    """Read YAML, or JSON if it starts with a brace; raises RecipeInvalid with `source` and line."""
    if len(text) > MAX_RECIPE_CHARS:
        raise RecipeInvalid(f"{source}: has {len(text)} characters; at most {MAX_RECIPE_CHARS} are read")
    try:
        if text.lstrip().startswith("{"):
            content = json.loads(text, object_pairs_hook=_unique_pairs)
            document = Document(content, _json_nodes(text))
        else:
            document = _read_yaml(text)
        fault = next(_faults(document.content, (), set()), None)
    except yaml.YAMLError as error:
        raise RecipeInvalid(_not_valid(source, _line(error, text), _problem(error))) from error
    except json.JSONDecodeError as error:
        raise RecipeInvalid(_not_valid(source, error.lineno, error.msg)) from error
    except (ValueError, RecursionError) as error:  # JSON: too many digits or too deep nesting
        raise RecipeInvalid(_not_valid(source, None, str(error))) from error
    if fault is not None:
        place, problem = fault
        raise RecipeInvalid(f"{source}: {field_at(place, document.line_of(place))}: {problem}")
    return document


class _Twice(dict[str, Any]):
    """A JSON object that contains `key` more than once."""

    def __init__(self, content: dict[str, Any], key: str) -> None:
        super().__init__(content)
        self.key = key


def _faults(value: Any, place: Place, seen: set[int]) -> Iterator[tuple[Place, str]]:
    """Faults the parsers accept: half a surrogate pair, which UTF-8 cannot encode; a JSON key twice."""
    if isinstance(value, str) and _is_broken(value):
        yield place, "holds half a surrogate pair, which is not a character; write the character itself"
    elif isinstance(value, dict | list) and id(value) not in seen:
        seen.add(id(value))  # check the target of aliases only once
        for key in value if isinstance(value, dict) else ():
            if isinstance(key, str) and _is_broken(key):  # report the place of the enclosing mapping
                yield place, f"the key {key!a:.40} holds half a surrogate pair, which is not a character"
        if isinstance(value, _Twice):
            yield (*place, value.key), "the key is given twice"
        for step, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _faults(each, (*place, step), seen)


def _is_broken(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _not_valid(source: str, line: int | None, problem: str) -> str:
    at = "" if line is None else f"line {line}: "
    return f"{source}: {at}is not valid YAML or JSON: {problem}"


def _read_yaml(text: str) -> Document:
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        return Document(None if root is None else loader.construct_document(root), root)
    finally:
        loader.dispose()


def _json_nodes(text: str) -> yaml.Node | None:
    """YAML nodes of JSON, for line numbers: with tabs as spaces, nearly all JSON is valid YAML."""
    try:
        return yaml.compose(text.replace("\t", " "), Loader=_Loader)
    except yaml.YAMLError:
        return None


def _line(error: yaml.YAMLError, text: str) -> int:
    if isinstance(error, yaml.reader.ReaderError):
        return text.count("\n", 0, error.position) + 1
    mark = error.problem_mark or error.context_mark if isinstance(error, yaml.MarkedYAMLError) else None
    return 1 if mark is None else mark.line + 1


def _problem(error: yaml.YAMLError) -> str:
    return (error.problem if isinstance(error, yaml.MarkedYAMLError) else None) or str(error)


class _Loader(yaml.SafeLoader):
    """A loader that reads plain values as YAML 1.2 does, and refuses duplicate keys.

    In YAML 1.1 a limit of 010 is 8, 1:30 is 90 and `no` is false. Of duplicate keys the last wins, which
    would silently drop limits.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = None if parent is None else parent.start_mark
            problem = f"it is nested deeper than {MAX_DEPTH} levels"
            raise yaml.composer.ComposerError(None, None, problem, mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (
            ValueError,
            LookupError,
            TypeError,
            ArithmeticError,
        ) as error:  # the value does not fit its tag
            problem = f"{node.value!r:.40} cannot be read as {node.tag}: {error}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in seen:
                problem = f"the key {key.value!r:.40} is given twice, or is not a plain word"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}
for _kind, _form, _first in (
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
    twice = repeated(key for key, _ in pairs)
    return _Twice(content, twice[-1]) if twice else content

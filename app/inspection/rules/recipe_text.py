"""Parse the text of a recipe to plain values, with the line number of each."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import yaml
from pydantic import ValidationError

from app.inspection.errors import RecipeInvalid
from app.inspection.repeats import repeated
from app.inspection.rules.limits import Place
from app.inspection.rules.plain_yaml import NotPlain, StrictLoader

MAX_RECIPE_CHARS = 64 * 1024
MAX_FAULTS = 20  # that one error lists


class Document:
    """The values of a text, and its YAML nodes for line numbers; None if the lines are unknown."""

    def __init__(self, content: Any, root: yaml.Node | None, json_text: str | None = None) -> None:
        """With `json_text`, the nodes are made from it when they are needed: few texts have errors."""
        self.content = content
        self._root = root
        self._json_text = json_text

    @property
    def root(self) -> yaml.Node | None:
        """The outermost node."""
        if self._json_text is not None:
            self._root, self._json_text = _json_nodes(self._json_text), None
        return self._root

    def line_of(self, place: Place) -> int | None:
        """Line number, from 1, of the key or item at a place; if missing, of the enclosing one."""
        root = self.root
        if root is None:
            return None
        node, mark = root, root.start_mark
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


def describe(error: ValidationError, line_of: Callable[[Place], int | None] = lambda _: None) -> str:
    """List each invalid field with its line and the reason, without values, which can be large."""
    wrong = []
    for each in error.errors(include_url=False, include_input=False)[:MAX_FAULTS]:
        loc = (step for step in each["loc"] if step != "[key]")  # pydantic's marker for an invalid key
        place = (*loc, *each.get("ctx", {}).get("place", ()))
        wrong.append(f"{field_at(place, line_of(place))}: {each['msg'].removeprefix('Value error, ')}")
    more = error.error_count() - len(wrong)
    return "; ".join(wrong) + (f"; and {more} more" if more else "")


def read_document(text: str, source: str) -> Document:
    """Read YAML, or JSON if it starts with a brace; raises RecipeInvalid with `source` and line."""
    if len(text) > MAX_RECIPE_CHARS:
        raise RecipeInvalid(f"{source}: has {len(text)} characters; at most {MAX_RECIPE_CHARS} are read")
    try:
        if text.lstrip().startswith("{"):
            content = json.loads(text, object_pairs_hook=_unique_pairs)
            document = Document(content, None, text)
        else:
            document = _read_yaml(text)
        fault = next(_faults(document.content, ()), None)
    except NotPlain as error:
        raise RecipeInvalid(f"{source}: line {_line(error, text)}: {error.problem}") from error
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


def _faults(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    """Faults the parsers accept: half a surrogate pair, which UTF-8 cannot encode; a JSON key twice."""
    if isinstance(value, str) and _is_broken(value):
        yield place, "holds half a surrogate pair, which is not a character; write the character itself"
    elif isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else ():
            if isinstance(key, str) and _is_broken(key):  # report the place of the enclosing mapping
                yield place, f"the key {key!a:.40} holds half a surrogate pair, which is not a character"
        if isinstance(value, _Twice):
            yield (*place, value.key), "the key is given twice"
        for step, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _faults(each, (*place, step))


def _is_broken(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _not_valid(source: str, line: int | None, problem: str) -> str:
    at = "" if line is None else f"line {line}: "
    return f"{source}: {at}is not valid YAML or JSON: {problem}"


def _read_yaml(text: str) -> Document:
    loader = StrictLoader(text)
    try:
        root = loader.get_single_node()
        return Document(None if root is None else loader.construct_document(root), root)
    finally:
        loader.dispose()


def _json_nodes(text: str) -> yaml.Node | None:
    """YAML nodes of JSON, for line numbers: with tabs as spaces, nearly all JSON is valid YAML."""
    try:
        return yaml.compose(text.replace("\t", " "), Loader=StrictLoader)
    except yaml.YAMLError:
        return None


def _line(error: yaml.YAMLError, text: str) -> int:
    if isinstance(error, yaml.reader.ReaderError):
        return text.count("\n", 0, error.position) + 1
    mark = error.problem_mark or error.context_mark if isinstance(error, yaml.MarkedYAMLError) else None
    return 1 if mark is None else mark.line + 1


def _problem(error: yaml.YAMLError) -> str:
    return (error.problem if isinstance(error, yaml.MarkedYAMLError) else None) or str(error)


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    twice = repeated(key for key, _ in pairs)
    return _Twice(content, twice[-1]) if twice else content

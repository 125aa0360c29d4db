"""YAML loaders for files from outside: plain values only, and no nesting without bound.

Anchors, aliases and tags let a short text stand for a huge document, or for something other than what it
looks like. They are refused while the text is parsed, before any value is built.
"""

import re
from typing import Any

import yaml

MAX_DEPTH = 32  # of nested lists and mappings; a recipe needs eight
MAX_VALUES = 20_000  # keys, values, lists and mappings; parsing them takes one to three seconds


class NotPlain(yaml.composer.ComposerError):
    """Valid YAML that is not read here; `problem` says why, and what to write instead."""

    def __init__(self, problem: str, mark: yaml.Mark) -> None:
        super().__init__(None, None, problem, mark)


class PlainLoader(yaml.SafeLoader):
    """A safe loader that refuses anchors, aliases and tags, and more than MAX_DEPTH levels or MAX_VALUES."""

    depth = 0
    values = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        _check_plain(event)
        self.depth, self.values = self.depth + 1, self.values + 1
        if self.depth > MAX_DEPTH:
            problem = f"lists and mappings are nested deeper than {MAX_DEPTH} levels"
            raise NotPlain(problem, event.start_mark)
        if self.values > MAX_VALUES:
            raise NotPlain(f"there are more than {MAX_VALUES} keys and values", event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _check_plain(event: Any) -> None:
    """Raise NotPlain for an alias, and for a node with an anchor or a tag."""
    if isinstance(event, yaml.AliasEvent):
        problem = f"the alias *{event.anchor:.40} is not allowed; write the value itself in its place"
    elif event.anchor is not None:
        problem = f"the anchor &{event.anchor:.40} is not allowed; write the value out wherever it is needed"
    elif event.tag is not None:
        tag = event.tag.replace("tag:yaml.org,2002:", "!!")
        problem = f"the tag {tag:.40} is not allowed; write the value alone, and text in quotes"
    else:
        return
    raise NotPlain(problem, event.start_mark)


class StrictLoader(PlainLoader):
    """A plain loader that reads values as YAML 1.2 does, and refuses duplicate keys.

    In YAML 1.1 a limit of 010 is 8, 1:30 is 90 and `no` is false. Of duplicate keys the last wins, which
    would silently drop limits.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, TypeError, ArithmeticError) as error:  # the value does not fit
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


StrictLoader.yaml_implicit_resolvers = {}
for _kind, _form, _first in (
    ("null", r"~|null", "~nN"),
    ("bool", r"true|false", "tTfF"),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|(0|[1-9][0-9]*)(?=e))(e[-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|nan)", "-+."),
):
    _tag, _whole = f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_form})$", re.I)
    StrictLoader.add_implicit_resolver(_tag, _whole, [*_first])
StrictLoader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^$"), [""])

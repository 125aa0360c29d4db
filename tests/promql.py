"""Which metrics and labels an expression of Prometheus names, without a parser for all of PromQL."""

import re

_WORDS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool"})
_WORDS_BETWEEN = frozenset({"and", "or", "unless"})
_LABELS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_NAME = re.compile(r"(?<![\w.$])([a-zA-Z_:][\w:]*)(?!\w)(?!\s*\()")


def metrics_in(expression: str) -> set[str]:
    """The names of the series it reads."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    bare = re.sub(r"\boffset\s+\w+", " ", _LABELS.sub(" ", bare))
    return set(_NAME.findall(bare)) - _WORDS - _WORDS_BETWEEN


def labels_in(expression: str) -> set[str]:
    """The names of the labels it selects or groups by."""
    grouped = [name for names in _LABELS.findall(expression) for name in re.findall(r"\w+", names)]
    return {*grouped, *re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression)}

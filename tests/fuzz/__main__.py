"""`python -m tests.fuzz TARGET [libFuzzer options]`: look for inputs that crash a target, with Atheris."""

import json
import random
import sys
from typing import Any

import atheris

from app.inspection.errors import RecipeError
from app.inspection.rules.recipe_text import read_document
from tests.fuzz.targets import TARGETS

STRUCTURED = {"bundle", "recipe"}  # bytes changed at random hardly ever stay JSON
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 0.5, 1e308, -1e-308, 2**63, 10**400, float("nan"), float("inf")),
    *("", "x", "dark", "../x", "a\0b", "\ud800", "0" * 64, "x" * 300, "1:30", "2026-01-01", "é\u2028"),
    *([], {}, [[0, 0], [1, 1], [0, 1]], [[]], {"": {}}, {"dark": {"max_count": 0}}),
)


def main(arguments: list[str]) -> None:
    """Fuzz until libFuzzer's options say stop; a crash is written where `-artifact_prefix` says."""
    name = arguments[1]
    one_input = TARGETS[name]
    atheris.instrument_all()

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        changed = _changed(data, random.Random(seed))
        if changed is None or len(changed) > max_size:
            mutated: bytes = atheris.Mutate(data, max_size)
            return mutated
        return changed

    by_structure = {"custom_mutator": mutate} if name in STRUCTURED else {}
    atheris.Setup([arguments[0], *arguments[2:]], one_input, **by_structure)
    atheris.Fuzz()


def _changed(data: bytes, chance: random.Random) -> bytes | None:
    """A document with one value, key or item changed; None where it is none, or by chance."""
    if chance.random() < 0.2:
        return None
    try:
        document = json.loads(data) if data.startswith(b"{") else read_document(data.decode(), "fuzz").content
    except (RecipeError, ValueError, RecursionError):
        return None
    parts = list(_containers(document))
    if not parts:
        return None
    _change(chance.choice(parts), chance, ODD + tuple(parts))
    try:
        return json.dumps(document).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):  # it now contains itself
        return None


def _containers(value: Any) -> list[Any]:
    if not isinstance(value, dict | list):
        return []
    below = value.values() if isinstance(value, dict) else value
    return [value, *(part for each in below for part in _containers(each))]


def _change(part: Any, chance: random.Random, values: tuple[Any, ...]) -> None:
    places = list(part) if isinstance(part, dict) else list(range(len(part)))
    value = chance.choice(values)
    if not places:
        part.update({"x": value}) if isinstance(part, dict) else part.append(value)
        return
    place = chance.choice(places)
    match chance.randrange(4):
        case 0:
            del part[place]
        case 1 if isinstance(part, list):
            part.append(value)
        case 2 if isinstance(part, dict):
            part[str(chance.choice(("x", "", "name", "dark", "a\0")))] = value
        case _:
            part[place] = value


if __name__ == "__main__":
    main(sys.argv)

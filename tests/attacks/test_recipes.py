"""Recipes made to cost memory and time: refused while their text is read, or cheap to use."""

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.inspection.rules.plain_yaml import MAX_VALUES
from tests.attacks.callers import CAMERA, inspected
from tests.serving import Serving, serving

PROMPT_S = 10.0  # a refusal; on a fast machine it takes at most a second
GROWTH_MIB = 100.0


def _layers(value: str, each: str, count: int = 29) -> str:
    """Layers that each name the one before nine times; `each` shows a layer's content."""
    lines = [f"l{n}: &l{n} {each.format(', '.join([f'*l{n - 1}'] * 9))}" for n in range(1, count)]
    return "\n".join(["name: bomb", f"l0: &l0 {value}", *lines])


def _by_alias(count: int) -> str:
    """Limits or polygons written once and used often."""
    corners = ", ".join(f"[{n % 50}, {(n * 37) % 64}]" for n in range(1000))
    uses = "\n".join(["- *one"] * count)
    return f"name: bomb\nroi:\n- &one {{polygon_px: [{corners}]}}\n{uses}\n"


BOMBS = {
    "merge": (_layers("{x: 1}", "{{!!merge m: [{}]}}"), "line 2: the anchor &l0 is not allowed"),
    "merge by tag": ("name: a\nlimits: {!!merge x: {crack: {max_count: 0}}}", "line 2: the tag !!merge"),
    "alias": (_layers("[x]", "[{}]"), "line 2: the anchor &l0 is not allowed"),
    "limits by alias": (
        "name: a\nlimits:\n  dark: &x {max_count: 0}\n" + "".join(f"  c{n}: *x\n" for n in range(4500)),
        "line 3: the anchor &x is not allowed; write the value out wherever it is needed",
    ),
    "polygons by alias": (_by_alias(99), "line 3: the anchor &one is not allowed"),
    "deep": ("name: a\nroi: " + "[" * 30_000, "nested deeper than 32 levels"),
    "values": ("name: a\nroi: [" + "0," * 32_000 + "]", f"more than {MAX_VALUES} keys and values"),
    "classes": (
        "name: a\nlimits:\n" + "".join(f" c{n}: {{max_count: 0}}\n" for n in range(2500)),
        "limits: Dictionary should have at most 254 items",
    ),
    "points": (
        "name: a\nroi:\n" + f"- polygon_px: [{', '.join(f'[{n},{n * 7 % 9}]' for n in range(999))}]\n" * 5,
        "the polygons have 4995 points; at most 4000 are allowed in all of roi, ignore and zones",
    ),
    "count": ("name: a\nother: {max_count: 1" + "0" * 300 + "}", "max_count: "),
    "description": ("name: a\ndescription: " + "a" * 60_000, "at most 4000 characters"),
}


@pytest.fixture(scope="module")
def box(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(bundle_dir, threads=1, recipes_dir=tmp_path_factory.mktemp("recipes")) as service:
        yield service


def put(box: Serving, name: str, text: str) -> tuple[int, dict[str, str], float]:
    """Status, answer and seconds of a recipe sent."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", box.port, timeout=60, source_address=(CAMERA, 0))
    connection.request("PUT", f"/v1/recipes/{name}", text, {"Content-Type": "application/yaml"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer, time.monotonic() - begun


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_with_line_and_limit(box: Serving, name: str) -> None:
    text, says = BOMBS[name]
    before = box.memory_mib("VmRSS")
    status, answer, seconds = put(box, "bomb", text)
    assert (status, answer["code"]) == (422, "recipe_invalid")
    assert says in answer["detail"]
    assert seconds < PROMPT_S
    assert box.memory_mib("VmHWM") - before < GROWTH_MIB


def test_many_long_polygons_hardly_slow_inspections(box: Serving, clean: bytes) -> None:
    """Within all limits: 300 regions of 4000 points, each about as large as the image."""
    sides = ", ".join(f"[{-3 + n % 7}, {n * 59 % 90}]" for n in range(10))
    around = f"{{polygon_px: [[-5, -5], [200, -5], [200, 200], {sides}]}}"
    roi = "".join(f"- {around}\n" for _ in range(100))
    ignore = "".join(
        f"- {{polygon_px: [[{n % 9}, 0], [20, 9], [9, 20], [{n % 7}, 9]]}}\n" for n in range(100)
    )
    zones = "".join(f"  z{n}: {{other: {{max_count: 9}}, {around[1:]}\n" for n in range(100))
    status, answer, _ = put(box, "many", f"name: many\nroi:\n{roi}ignore:\n{ignore}zones:\n{zones}")
    assert status in (200, 201), answer
    for _ in range(2):
        status, body, seconds = inspected(box.port, clean, query="&recipe=many")
        assert (status, json.loads(body)["verdict"]) == (200, "pass")
    assert seconds < PROMPT_S / 5

"""Recipes are read from YAML and JSON, and every mistake in one is named."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from app.inspection.errors import RecipeInvalid, RecipeUnknown
from app.inspection.rules.recipe import (
    ExtraRules,
    Limits,
    Recipe,
    Zone,
    check_classes,
    load_recipe,
    parse_recipe,
    recipe_schema,
)
from tests.inspection.rules import recipes
from tests.markdown import ROOT

YAML = """
name: tiles
description: Ferrite tiles, 40 mm
pixel_pitch_mm: 0.05
limits:
  blowhole: {max_count: 2, max_area_mm2: 0.5}
  crack:
    max_length_mm: 1
other: {max_count: 0}
"""
TWO_PITCHES = """name: a
calibration: {from_px: [0, 0], to_px: [3, 4], distance_mm: 1}
pixel_pitch_mm: 0.1"""
JSON = '{"name": "tiles", "limits": {"crack": {"max_count": 1}}}'


def test_yaml() -> None:
    recipe = parse_recipe(YAML, "tiles.yaml")
    assert recipe.pixel_pitch_mm == 0.05
    assert recipe.limits_of("blowhole") == Limits(max_count=2, max_area_mm2=0.5)
    assert recipe.limits_of("crack").max_length_mm == 1.0
    assert recipe.limits_of("fray") == Limits(max_count=0)


@pytest.mark.parametrize(("text", "value"), [("1e3", 1000), ("2.50", 2.5), (".5", 0.5), ("7", 7)])
def test_numbers_are_read_as_written(text: str, value: float) -> None:
    recipe = parse_recipe(f"name: a\nlimits: {{no: {{max_area_px: {text}}}}}", "numbers.yaml")
    assert recipe.limits_of("no") == Limits(max_area_px=value)


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("", None),
        ("min_area_px: 7", 7),
        ("min_area_mm2: 0.5\npixel_pitch_mm: 0.1", 50),
        ("min_area_mm2: 0.501\npixel_pitch_mm: 0.1", 51),
        ("min_area_mm2: 0\npixel_pitch_mm: 0.1", 1),
        ("min_area_mm2: 1.25\ncalibration: {from_px: [0, 0], to_px: [3, 4], distance_mm: 2.5}", 5),
    ],
)
def test_least_area_in_whole_pixels(text: str, least: int | None) -> None:
    recipe = parse_recipe(f"name: a\n{text}", "least.yaml")
    assert recipe.least_area_px == least
    assert parse_recipe(recipe.model_dump_json(), "again") == recipe


def test_json_and_the_default_for_classes_not_named() -> None:
    recipe = parse_recipe(JSON, "request")
    assert recipe.limits_of("crack").max_count == 1
    assert recipe.limits_of("anything else") == Limits(max_count=0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must be a mapping"),
        ("- a\n- b", "must be a mapping"),
        ("name: [", "not valid YAML or JSON"),
        ('{"name": ', "not valid YAML or JSON"),
        ("[" * 3000, "line 1: lists and mappings are nested deeper than 32 levels"),
        ('{"a": ' * 3000, "not valid YAML or JSON"),
        ("name: 2020-13-45\na: 1", "a: Extra inputs"),
        ("!!python/object/apply:os.system [ls]", "line 1: the tag !!python/object/apply:os.system is not"),
        ("limits: {crack: {max_count: 0}}", "name: Field required"),
        ("name: a\nlimit: {}", "limit: Extra inputs are not permitted"),
        ("name: a\nlimits: {crack: {max_counts: 0}}", r"limits\.crack\.max_counts: Extra"),
        ("name: a\nlimits: {crack: {}}", r"limits\.crack: sets no limit; set at least one of max_count"),
        ("name: a\nother:", "other: Input should be a valid dictionary"),
        ("name: a\nlimits: {crack: {max_count: -1}}", "max_count: .*greater than or equal to 0"),
        ("name: a\nlimits: {crack: {max_count: true}}", "max_count: .*valid integer"),
        ("name: a\nlimits: {crack: {max_count: 010}}", "max_count: .*valid integer"),
        ("name: a\nlimits: {crack: {max_length_px: 1:30}}", "max_length_px: .*valid number"),
        ("name: a\nlimits: {crack: {max_count: yes}}", "max_count: .*valid integer"),
        ("name: a\nlimits: {crack: {max_count: 1.5}}", "max_count: .*valid integer"),
        ("name: a\nlimits: {crack: {max_area_px: .inf}}", "max_area_px: .*finite"),
        ("name: a\nlimits: {crack: {max_area_px: .nan}}", "max_area_px: "),
        ("name: a\nlimits: {crack: {max_area_px: '9'}}", "max_area_px: .*valid number"),
        ("name: a\nlimits: {1: {max_count: 0}}", "valid string"),
        ("name: a\nlimits: {crack: {max_area_mm2: 1}}", r"limits\.crack\.max_area_mm2: .*no pixel_pitch_mm"),
        ("name: a\nother: {max_length_mm: 1}", "no pixel_pitch_mm"),
        ("name: a\nreview:\n  other: {max_width_mm: 1}", r"line 3: review\.other\.max_width_mm: .*no pixel"),
        ("name: a\nother: {max_density: {count: 1}}", r"other\.max_density: needs a window"),
        ("name: a\nother: {max_density: {count: 1, window_mm: 9}}", r"max_density\.window_mm: .*no pixel"),
        ("name: a\nseverities: {criticl: {max_count: 0}}", r"severities\.criticl.*'critical'"),
        ("name: a\nreview: {}", "review: sets no limits; set at least one of limits"),
        ("name: a\nborder: ignore", "border: Input should be 'judge' or 'review'"),
        ("name: a\nmin_area_px: 0", "line 2: min_area_px: .*greater than or equal to 1"),
        ("name: a\nmin_area_px: 1.5", "line 2: min_area_px: .*valid integer"),
        ("name: a\nmin_area_px: 1e20", "line 2: min_area_px: "),
        ("name: a\nmin_area_px: 99999999999", "line 2: min_area_px: .*less than or equal to 2147483648"),
        ("name: a\nmin_area_mm2: -1", "line 2: min_area_mm2: .*greater than or equal to 0"),
        ("name: a\nmin_area_mm2: .nan", "line 2: min_area_mm2: "),
        ("name: a\nmin_area_mm2: 0.1", "line 2: min_area_mm2: is in mm2, but there is no pixel_pitch_mm"),
        (
            "name: a\npixel_pitch_mm: 1\nmin_area_px: 3\nmin_area_mm2: 0.1",
            "line 4: min_area_mm2: gives the least area too; set only one of the two",
        ),
        ("name: a\nmin_estimated_dice: 90", "min_estimated_dice: .*less than or equal to 1"),
        ("name: a\nroi:\n- polygon_px: [[0, 0], [1, 1], [2, 2]]", r"line 3: roi\.0: .*lie on one line"),
        ("name: a\nroi: [{polygon_px: [[0, 0], [1, 1]]}]", r"roi\.0\.polygon_px: .*at least 3"),
        (
            "name: a\nroi: [{polygon_px: [[0, 0], [1, true], [2]]}]",
            r"polygon_px\.1\.1: .*; .*polygon_px\.2\.1: ",
        ),
        ("name: a\nroi: [{polygon_px: {a, b, c}}]", r"roi\.0\.polygon_px: "),
        ("name: a\nroi: [{}]", r"roi\.0: needs a polygon"),
        (
            "name: a\nignore:\n- polygon_mm: [[0, 0], [9, 0], [9, 9]]",
            r"line 3: ignore\.0\.polygon_mm: needs part_frame",
        ),
        ("name: a\nzones: {rim: {polygon_px: [[0, 0], [9, 0], [9, 9]]}}", r"zones\.rim: sets no limits"),
        (
            "name: a\ncalibration: {from_px: [1, 1], to_px: [1, 1], distance_mm: 1}",
            "calibration: .*same point",
        ),
        (TWO_PITCHES, r"line 3: pixel_pitch_mm: calibration gives 0\.2 mm per pixel"),
        ("name: a\nother: {max_area_px: !!int 9}", "line 2: the tag !!int is not allowed; write the value"),
        ("name: ! a", "line 1: the tag ! is not allowed"),
        ("name: a\nlimits: {!!merge x: {crack: {max_count: 0}}}", "line 2: the tag !!merge is not allowed"),
        ("%TAG !e! tag:yaml.org,2002:\n---\nname: !e!str a", "line 3: the tag !!str is not allowed"),
        ("name: a\nother: {max_area_px: 1" + 400 * "0" + "}", "line 2: other.max_area_px: "),
        ("name: a\n\x00", "line 2: "),
        ("name: &a [*a]", "line 1: the anchor &a is not allowed; write the value out"),
        ("name: a\nother: *strict", r"line 2: the alias \*strict is not allowed; write the value itself"),
        ("name: a\nlimits:\n  ? &x crack\n  : {max_count: 0}", "line 3: the anchor &x is not allowed"),
        (
            '{"name": "a",\n\t"limits": {\n"crack": {"max_counts": 1}}}',
            r"line 3: limits\.crack\.max_counts: ",
        ),
        ('{"name": "a",\n"limits": {crack}}', "line 2: "),
        ("name: a\npixel_pitch_mm: 0", "pixel_pitch_mm: .*greater than or equal to 0"),
        ("name: a\nname: b", "key 'name' is given twice"),
        ("other: {max_count: 0}\nname: .", r"line 2: name: no address ends in \. or \.\."),
        ("name: ..", r"line 1: name: no address ends in \. or \.\."),
        ('name: "a\\nb"', r"line 1: name: has a control character"),
        ("name: a\nlimits:\n  crack: {max_count: 0}\n  crack: {max_count: 9}", "line 4"),
        ('{"name": "a",\n "name": "b"}', r"line 2: name: the key is given twice"),
        (
            '{"name": "a",\n"limits": {"crack": {"max_count": 1},\n"crack": {"max_count": 2}}}',
            r"line 3: limits\.crack: the key is given twice",
        ),
        ('{"name": "a",\n"description": "\\ud800"}', r"line 2: description: holds half a surrogate pair"),
        ('{"name": "a",\n"roi": [1,\n"\\udc00"]}', r"line 3: roi\.1: holds half a surrogate pair"),
        (
            '{"name": "a",\n"limits": {"\\ud800": 1, "\\ud800": 2}}',
            r"line 2: limits: the key '\\ud800' holds",
        ),
        ('name: a\ndescription: "\\ud800"', r"line 2: description: holds half a surrogate pair"),
        ("? [a, b]\n: c", "not valid YAML or JSON"),
        ("# " + "x" * 70_000, "at most 65536"),
    ],
)
def test_wrong_recipe_is_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(RecipeInvalid, match=says) as caught:
        parse_recipe(text, "line4.yaml")
    assert str(caught.value).startswith("line4.yaml: ")
    assert len(str(caught.value)) < 700


def test_merges_are_keys_like_others() -> None:
    with pytest.raises(RecipeInvalid, match=r"line 3: limits\.pore\.<<: Extra inputs"):
        parse_recipe("name: a\nlimits:\n  pore: {<<: {max_count: 0}}", "a.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "name: a\npixel_pitch_mm: 1.0e+200\n",
        "name: a\npixel_pitch_mm: 1.0e-200\n",
        "name: a\ncalibration: {from_px: [0, 0], to_px: [1.0e-300, 0], distance_mm: 1.0e+200}\n",
        '{"name": "a", "description": "\\ud800"}',
        '{"name": "a", "limits": {"\\ud800": {"max_count": 1}}}',
        'name: "a\\ud800"\n',
        "name: a\nother: {max_area_px: !!float '" + ":".join(["1"] * 200) + "'}\n",
    ],
)
def test_what_no_answer_could_hold_is_refused(text: str) -> None:
    with pytest.raises(RecipeInvalid, match="extreme"):
        parse_recipe(text, "extreme.yaml")


def test_pitch_follows_from_two_points() -> None:
    text = "name: a\ncalibration: {from_px: [10, 20], to_px: [40, 60], distance_mm: 2.5}\n"
    recipe = parse_recipe(text + "other: {max_length_mm: 1}", "two-points.yaml")
    assert recipe.pixel_pitch_mm == pytest.approx(0.05)
    assert parse_recipe(recipe.model_dump_json(), "again") == recipe
    assert "pixel_pitch_mm" not in recipe.model_dump(exclude_unset=True)


def test_no_more_faults_are_named_than_anybody_reads() -> None:
    text = "name: a\n" + "\n".join(f"wrong{n}: 1" for n in range(500))
    with pytest.raises(RecipeInvalid, match=r"line 21: wrong19: .*; and 480 more$"):
        parse_recipe(text, "many.yaml")


def test_published_schema_is_that_of_the_code() -> None:
    published = (ROOT / "docs/recipe.schema.json").read_text(encoding="utf-8")
    printed = json.dumps(recipe_schema(), indent=2) + "\n"
    assert published == printed, "run `passline schema > docs/recipe.schema.json`"


def test_unknown_class_is_refused_wherever_it_stands() -> None:
    crack = {"crack": Limits(max_count=0)}
    zone = Zone(polygon_px=((0, 0), (9, 0), (9, 9)), review=ExtraRules(limits=crack))
    recipe = Recipe(name="a", review=ExtraRules(limits=crack), zones={"limits": zone})
    with pytest.raises(
        RecipeInvalid, match=r"review\.limits\.crack, zones\.limits\.review\.limits\.crack: no"
    ):
        check_classes(recipe, ("pore",))
    check_classes(recipe, ("crack",))


def test_unknown_class_is_refused_with_the_known_ones() -> None:
    recipe = parse_recipe(JSON, "request")
    check_classes(recipe, ("crack", "pore"))
    with pytest.raises(RecipeInvalid, match=r"crack.*its classes are pore, fray"):
        check_classes(recipe, ("pore", "fray"))


def test_files(tmp_path: Path) -> None:
    (tmp_path / "tiles.yaml").write_text(YAML, encoding="utf-8")
    assert load_recipe(tmp_path / "tiles.yaml").recipe.name == "tiles"
    with pytest.raises(RecipeUnknown, match=r"no recipe file nothing\.yaml"):
        load_recipe(tmp_path / "nothing.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeInvalid, match=r"binary\.yaml"):
        load_recipe(tmp_path / "binary.yaml")


VALID = """name: tiles
pixel_pitch_mm: 0.05
part_frame: {origin_px: [12, 280], angle_deg: 1.5}
roi:
  - polygon_px: [[5, 5], [395, 5], [395, 295], [5, 295]]
limits:
  crack: {max_count: 0}
  pore: {max_count: 0}
  fray: {max_total_area_mm2: 2.5}
severities:
  minor: {max_density: {count: 3, window_mm: 2}}
zones:
  rim:
    polygon_mm: [[0, 0], [9, 0], [9, 9.5]]
    other: {max_length_mm: .5}
    review: {other: {min_distance_px: 4}}
review: {limits: {pore: {max_count: 2}}}
border: review
"""
MENDED = [
    "",
    " ",
    "\n",
    "- ",
    ":",
    "{",
    "]",
    "*strict",
    "&a",
    "!!int ",
    "'",
    "#",
    "\t",
    "1e9",
    ".nan",
    "~",
    "name: b",
]


def _places(content: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every value of a document stands."""
    if place:
        yield place
    steps = content if isinstance(content, dict) else range(len(content) if isinstance(content, list) else 0)
    for step in steps:
        yield from _places(content[step], (*place, step))


def _refusal(text: str) -> str | None:
    """What is said of a text that is no recipe."""
    try:
        assert parse_recipe(text, "any.yaml").name
    except RecipeInvalid as error:
        return str(error)
    return None


def _check_refusal(text: str) -> None:
    said = _refusal(text)
    as_json = text.lstrip().startswith("{")  # of JSON that is no YAML the lines are not known
    wanted = r"any\.yaml: [^ ].*" if as_json else r"any\.yaml: line [1-9]\d*: [^ ].*"
    assert said is None or re.match(wanted, said, re.DOTALL), said


@settings(max_examples=100, deadline=None)
@given(st.text() | st.text("{}[]:,-&*!|>'\"#%@ \n\tab01.~<?", max_size=40))
def test_any_text_is_a_recipe_or_refused_with_its_line(text: str) -> None:
    _check_refusal(text)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_valid_recipe_spoilt_anywhere_is_a_recipe_or_refused_with_line_and_field(data: st.DataObject) -> None:
    text = VALID
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        until = min(len(text), at + data.draw(st.integers(0, 8)))
        text = text[:at] + data.draw(st.sampled_from(MENDED) | st.text(max_size=3)) + text[until:]
    _check_refusal(text)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(list(_places(yaml.safe_load(VALID)))), st.sampled_from([[[]], {"a": {}}]))
def test_wrong_value_anywhere_is_refused_at_its_own_field(place: tuple[Any, ...], wrong: Any) -> None:
    content = yaml.safe_load(VALID)
    parent = content
    for step in place[:-1]:
        parent = parent[step]
    parent[place[-1]] = wrong
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    said, lines = _refusal(text), text.splitlines()
    named = [pair for pair in re.findall(r"line (\d+): ([^ ]+): ", said or "") if _near(place, pair[1])]
    assert named, said
    for line, field in named:
        keys = field.split(".")[-2:]  # of what is missing the line is that of what is around it
        assert keys[-1].isdigit() or any(key in lines[int(line) - 1] for key in keys), said


def _near(place: tuple[Any, ...], field: str) -> bool:
    own = ".".join(map(str, place))
    return field == own or own.startswith(field + ".") or field.startswith(own + ".")


@settings(max_examples=20, deadline=None)
@given(recipes())
def test_recipe_written_down_is_read_as_the_same(content: dict[str, Any]) -> None:
    recipe = parse_recipe(yaml.safe_dump(json.loads(json.dumps(content))), "a.yaml")  # no aliases
    for text in (yaml.safe_dump(recipe.model_dump(mode="json")), recipe.model_dump_json()):
        assert parse_recipe(text, "again") == recipe


def test_recipes_do_not_change() -> None:
    recipe = Recipe(name="a")
    with pytest.raises(ValueError, match="frozen"):
        recipe.name = "b"

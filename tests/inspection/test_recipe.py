"""Recipes are read from YAML and JSON, and every mistake in one is named."""

from pathlib import Path

import pytest

from app.inspection.errors import RecipeInvalid, RecipeUnknown
from app.inspection.recipe import Limits, Recipe, check_classes, load_recipe, parse_recipe

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
        ("[" * 3000, "not valid YAML or JSON"),
        ('{"a": ' * 3000, "not valid YAML or JSON"),
        ("name: 2020-13-45\na: 1", "a: Extra inputs"),
        ("!!python/object/apply:os.system [ls]", "not valid YAML or JSON"),
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
        ("name: a\nlimits: {crack: {max_area_mm2: 1}}", "no pixel_pitch_mm"),
        ("name: a\nother: {max_length_mm: 1}", "no pixel_pitch_mm"),
        ("name: a\npixel_pitch_mm: 0", "pixel_pitch_mm: .*greater than 0"),
        ("name: a\nname: b", "key 'name' is given twice"),
        ("name: a\nlimits:\n  crack: {max_count: 0}\n  crack: {max_count: 9}", "line 4"),
        ('{"name": "a", "name": "b"}', "given twice"),
        ("? [a, b]\n: c", "not valid YAML or JSON"),
        ("# " + "x" * 70_000, "at most 65536"),
    ],
)
def test_wrong_recipe_is_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(RecipeInvalid, match=says) as caught:
        parse_recipe(text, "line4.yaml")
    assert str(caught.value).startswith("line4.yaml: ")
    assert len(str(caught.value)) < 600


def test_aliases_cannot_blow_a_recipe_up() -> None:
    layers = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 30)]
    with pytest.raises(RecipeInvalid) as caught:
        parse_recipe("l0: &l0 [x]\n" + "\n".join(layers), "bomb.yaml")
    assert len(str(caught.value)) < 3000


def test_aliases_and_merges_are_fine_otherwise() -> None:
    lines = ["crack: &strict {max_count: 0}", "pore: *strict", "fray: {<<: *strict, max_area_px: 4}"]
    recipe = parse_recipe("name: a\nlimits:\n  " + "\n  ".join(lines), "a.yaml")
    assert recipe.limits["pore"] == Limits(max_count=0)
    assert recipe.limits["fray"] == Limits(max_count=0, max_area_px=4)


def test_unknown_class_is_refused_with_the_known_ones() -> None:
    recipe = parse_recipe(JSON, "request")
    check_classes(recipe, ("crack", "pore"))
    with pytest.raises(RecipeInvalid, match=r"crack.*its classes are pore, fray"):
        check_classes(recipe, ("pore", "fray"))


def test_files(tmp_path: Path) -> None:
    (tmp_path / "tiles.yaml").write_text(YAML, encoding="utf-8")
    assert load_recipe(tmp_path / "tiles.yaml").name == "tiles"
    with pytest.raises(RecipeUnknown, match=r"no recipe file nothing\.yaml"):
        load_recipe(tmp_path / "nothing.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeInvalid, match=r"binary\.yaml"):
        load_recipe(tmp_path / "binary.yaml")


def test_recipes_do_not_change() -> None:
    recipe = Recipe(name="a")
    with pytest.raises(ValueError, match="frozen"):
        recipe.name = "b"

"""What an overlay shows, and that nothing about an image keeps it from being drawn."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from app.inspection.inspector import Inspector
from app.inspection.results import Reason
from app.inspection.rules.recipe import parse_recipe
from app.report.captions import MOST, PLATE, Caption, write
from app.report.overlay import COLOURS, LIGHT, draw
from tests.tiny_bundle import png, tiny_picture

ANY = parse_recipe("name: any\n", "test")
REGIONS = """
name: regions
roi: [{polygon_px: [[20, 20], [280, 20], [280, 180], [20, 180]]}]
ignore: [{polygon_px: [[200, 100], [260, 100], [260, 160], [200, 160]]}]
zones:
  edge: {polygon_px: [[40, 60], [140, 60], [140, 160], [40, 160]], limits: {dark: {max_length_px: 10}}}
"""


def overlay(inspector: Inspector, picture: NDArray[np.uint8], text: str = "name: all\n") -> NDArray[np.uint8]:
    """The overlay of an image by a recipe, BGR."""
    recipe = parse_recipe(text, "test")
    return draw(picture, inspector.inspect(png(picture), recipe), recipe)


@pytest.fixture(scope="module")
def inspector(bundle_dir: Path) -> Inspector:
    return Inspector.load(bundle_dir, threads=1)


def test_a_clean_picture_is_left_as_it_is(inspector: Inspector) -> None:
    picture = tiny_picture(70, 90)
    assert np.array_equal(overlay(inspector, picture), cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))


def test_each_class_is_outlined_in_its_colour_and_named(inspector: Inspector) -> None:
    picture = tiny_picture(200, 300, dark=(40, 90, 60, 30))
    picture[150:170, 200:230] = 250
    drawn = overlay(inspector, picture)
    for colour, (x, y) in zip(COLOURS, ((70, 90), (215, 150)), strict=False):
        assert tuple(drawn[y, x]) == colour
    unchanged = (drawn == picture[..., None]).all(axis=2)
    assert unchanged[95:115, 45:95].all()  # the inside stays visible
    assert not unchanged[60:88, 40:120].all()  # the caption above


def test_colour_pictures_keep_their_colours(inspector: Inspector) -> None:
    picture = np.full((64, 64, 3), (200, 100, 84), np.uint8)
    assert tuple(overlay(inspector, picture)[32, 32]) == (84, 100, 200)


@pytest.mark.parametrize("shape", [(16, 16), (16, 900), (900, 16), (1400, 1300)])
def test_any_shape_is_drawn_at_its_own_size(inspector: Inspector, shape: tuple[int, int]) -> None:
    picture = tiny_picture(*shape, dark=(0, 0, 5, 5))
    picture[-4:, -4:] = 250  # captions at both corners must stay inside
    assert overlay(inspector, picture).shape == (*shape, 3)


def test_more_classes_than_colours_and_long_names_are_drawn(inspector: Inspector) -> None:
    picture = tiny_picture(80, 80, dark=(10, 40, 20, 20))
    found = inspector.inspect(png(picture))
    names = (*(f"class-{n}" for n in range(len(COLOURS))), "a" * 60)
    last = replace(found.defects[0], defect_class=names[-1])
    label_map = (found.label_map * len(names)).astype(np.uint8)
    drawn = draw(picture, replace(found, classes=names, label_map=label_map, defects=(last,)), ANY)
    assert tuple(drawn[59, 20]) == COLOURS[0]  # the eighth class takes the first colour again
    assert (drawn[25:38] != picture[25:38, :, None]).any(axis=(0, 2)).all()  # its name fills the width


def test_a_caption_has_the_limits_that_its_defect_is_beyond(inspector: Inspector) -> None:
    picture = tiny_picture(300, 400, dark=(150, 150, 60, 20))
    found = inspector.inspect(png(picture))
    reasons = (
        Reason("max_length", "dark", 60.0, 10.0, "px", defect=0),
        Reason("max_area", "dark", 1200.0, 50.0, "px2", defect=0),
    )
    plain, told = (draw(picture, replace(found, reasons=each), ANY) for each in (found.reasons, reasons))
    heights = [(each == PLATE).all(axis=2).any(axis=1).sum() for each in (plain, told)]
    assert heights[1] > 2.5 * heights[0]  # three lines instead of one


def test_many_captions_cover_neither_each_other_nor_a_defect() -> None:
    canvas = np.zeros((600, 600, 3), np.uint8)
    defective = np.zeros((600, 600), np.uint8)
    captions = []
    for number in range(30):
        x, y = 20 + 95 * (number % 6), 40 + 110 * (number // 6)
        defective[y : y + 20, x : x + 30] = 1
        captions.append(Caption(("dark 0.99",), (x, y, 30, 20), (0, 255, 100 + number)))
    write(canvas, captions, defective, 1)
    assert not canvas[defective > 0].any()
    stripes = [(canvas == each.colour).all(axis=2).sum() for each in captions]
    assert len(set(stripes[:MOST])) == 1
    assert stripes[0] > 0
    assert not any(stripes[MOST:])


def test_captions_keep_their_letters() -> None:
    """Not `flache` for `fläche`, and no boxes or question marks for what is not in ASCII."""
    drawn = []
    for text in ("fläche", "flache", "fl?che"):
        canvas = np.zeros((60, 120, 3), np.uint8)
        write(canvas, [Caption((text,), (50, 50, 4, 4), (0, 255, 100))], np.zeros((60, 120), np.uint8), 1)
        drawn.append(canvas)
    assert (drawn[0] != drawn[1]).any()
    assert (drawn[0] != drawn[2]).any()


@pytest.mark.parametrize("text", ["\ud800", "a\nb", "\x00", "\u202eabc", "表面 \U0001f600"])
def test_no_name_breaks_a_caption(text: str) -> None:
    canvas = np.zeros((60, 120, 3), np.uint8)
    write(canvas, [Caption((text,), (50, 50, 4, 4), (0, 255, 100))], np.zeros((60, 120), np.uint8), 1)
    assert (canvas[:, :, 2] > 150).any()  # letters


def test_captions_hide_less_of_a_small_picture() -> None:
    hidden = []
    for height, width in ((240, 320), (480, 640)):
        canvas = np.full((height, width, 3), 128, np.uint8)
        caption = Caption(("dark 0.99", "length 14.2 > 10 px"), (100, 100, 4, 4), (0, 255, 100))
        write(canvas, [caption], np.zeros((height, width), np.uint8), 1)
        hidden.append(int((canvas != 128).any(axis=2).sum()))
    assert hidden[0] < 0.65 * hidden[1]


def test_a_caption_without_a_free_place_is_left_out() -> None:
    canvas = np.zeros((20, 70, 3), np.uint8)
    boxes = ((5, 15, 4, 4), (50, 15, 4, 4))
    captions = [Caption(("dark 1.00",), box, (0, 255, 100 + n)) for n, box in enumerate(boxes)]
    write(canvas, captions, np.zeros((20, 70), np.uint8), 1)
    assert (canvas == captions[0].colour).all(axis=2).any()
    assert not (canvas == captions[1].colour).all(axis=2).any()


def test_an_enlarged_overlay_is_drawn_and_not_blown_up(inspector: Inspector) -> None:
    picture = tiny_picture(100, 120, dark=(40, 50, 30, 20))
    found = inspector.inspect(png(picture))
    small, large = draw(picture, found, ANY), draw(picture, found, ANY, zoom=4)
    assert large.shape == (400, 480, 3)
    outlined = [(each == COLOURS[0]).all(axis=2).mean() for each in (small, large)]
    assert outlined[1] < outlined[0] / 2  # the lines are as thin as before


def test_regions_are_drawn_as_they_are_judged(inspector: Inspector) -> None:
    picture = tiny_picture(200, 300)
    drawn = overlay(inspector, picture, REGIONS)
    changed = (drawn != 128).any(axis=2)
    assert changed[20, 20:280].all()  # the region of interest has a whole line
    assert 0.3 < (drawn[159, 41:139] == LIGHT).all(axis=1).mean() < 0.7  # a zone's is dashed
    assert 0.05 < changed[102:158, 202:258].mean() < 0.4  # what is ignored is hatched
    assert (drawn[60:80, 40:90] == PLATE).all(axis=2).sum() > 100  # the zone's name
    assert not changed[:18].any()
    assert not changed[100:150, 60:130].any()  # the surface inside stays as it is


def test_what_is_not_judged_is_outlined_without_a_caption(inspector: Inspector) -> None:
    picture = tiny_picture(200, 300, dark=(210, 110, 30, 20))
    drawn = overlay(inspector, picture, REGIONS)
    assert tuple(drawn[110, 215]) == COLOURS[0]
    assert not (drawn[85:110, 200:260] == PLATE).all(axis=2).any()


def test_a_zones_limit_stands_in_the_caption(inspector: Inspector) -> None:
    picture = tiny_picture(200, 300, dark=(60, 100, 40, 20))
    by_zone, plain = (overlay(inspector, picture, each) for each in (REGIONS, "name: any\n"))
    plates = [(each[80:150, 30:290] == PLATE).all(axis=2).sum() for each in (by_zone, plain)]
    assert plates[0] > 2 * plates[1]


@pytest.mark.parametrize("far", [1e6, -1e6])
def test_polygons_far_beyond_the_picture_are_drawn_at_once(inspector: Inspector, far: float) -> None:
    corners = f"[[{-far}, {-far}], [{far}, {-far}], [{far}, {far}], [{-far}, {far}]]"
    drawn = overlay(inspector, tiny_picture(80, 90), f"name: far\nroi: [{{polygon_px: {corners}}}]\n")
    assert (drawn[0] != 128).any()

"""What an overlay shows, and that nothing about a picture keeps it from being drawn."""

import base64
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from app.inspection.inspector import Inspector
from app.overlay import COLOURS, draw
from tests.tiny_bundle import png, tiny_picture


def overlay(inspector: Inspector, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The overlay of a picture, decoded to BGR."""
    return decoded(draw(picture, inspector.inspect(png(picture))))


def decoded(data: str) -> NDArray[np.uint8]:
    """A base64 PNG as BGR."""
    drawn = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert drawn is not None
    return np.asarray(drawn, np.uint8)


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
    drawn = decoded(draw(picture, replace(found, classes=names, label_map=label_map, defects=(last,))))
    assert tuple(drawn[59, 20]) == COLOURS[0]  # the eighth class takes the first colour again
    assert (drawn[25:38] != picture[25:38, :, None]).any(axis=(0, 2)).all()  # its name fills the width

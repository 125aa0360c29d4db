"""Masks in every form, there and back again, to the pixel."""

import cv2
import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco

from app.inspection.mask_formats import from_png, from_polygons, from_rle, to_png, to_polygons, to_rle

CLASSES = ("first", "second", "third")
LabelMap = NDArray[np.uint8]


def drawn(*rows: str) -> LabelMap:
    return np.array([[int(cell) for cell in row.replace(".", "0")] for row in rows], np.uint8)


RING = drawn("11111", "1...1", "1...1", "11111")
ISLAND_IN_A_HOLE = drawn("1111111", "1.....1", "1.111.1", "1.1.1.1", "1.111.1", "1.....1", "1111111")
TOUCHING = drawn("112233", "112233", "1.1...", ".1.1..", "1.1.1.")
THIN = drawn("1......", ".1.....", "..1....", "...1111", "...1...", "1..1..1")
FULL = np.ones((4, 6), np.uint8)

label_maps = arrays.arrays(
    np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.integers(0, 3)
)


@st.composite
def blobs(draw: st.DrawFn) -> LabelMap:
    """Overlapping discs, rectangles and lines of all classes: large regions with holes and several parts."""
    canvas = np.zeros((draw(st.integers(1, 60)), draw(st.integers(1, 60))), np.uint8)
    place = st.tuples(st.integers(-5, 64), st.integers(-5, 64))
    for _ in range(draw(st.integers(0, 8))):
        value = draw(st.integers(0, 3))
        match draw(st.sampled_from(("disc", "rectangle", "line"))):
            case "disc":
                cv2.circle(canvas, draw(place), draw(st.integers(0, 25)), value, -1)
            case "rectangle":
                cv2.rectangle(canvas, draw(place), draw(place), value, -1)
            case "line":
                cv2.line(canvas, draw(place), draw(place), value, draw(st.integers(1, 3)))
    return canvas


@settings(max_examples=150, deadline=None)
@given(label_maps | blobs())
@example(RING)
@example(ISLAND_IN_A_HOLE)
@example(TOUCHING)
@example(THIN)
@example(FULL)
def test_every_form_gives_back_the_label_map(label_map: LabelMap) -> None:
    shape = (label_map.shape[0], label_map.shape[1])
    assert np.array_equal(from_png(to_png(label_map)), label_map)
    assert np.array_equal(from_rle(to_rle(label_map, CLASSES), shape, CLASSES), label_map)
    assert np.array_equal(from_polygons(to_polygons(label_map, CLASSES), shape, CLASSES), label_map)


def test_a_polygon_for_each_region_with_its_holes() -> None:
    polygons = to_polygons(ISLAND_IN_A_HOLE, CLASSES)
    assert sorted(len(each.holes) for each in polygons) == [1, 1]
    regions = to_polygons(TOUCHING, CLASSES)
    assert [each.defect_class for each in regions].count("second") == 1
    assert [each.defect_class for each in regions].count("third") == 1


def test_run_lengths_are_those_of_coco() -> None:
    (only,) = to_rle(RING, CLASSES)
    assert (only.defect_class, only.size) == ("first", (4, 5))
    assert coco.area({"size": list(only.size), "counts": only.counts.encode()}) == RING.sum()


def test_an_empty_mask_has_no_regions() -> None:
    empty = np.zeros((5, 7), np.uint8)
    assert to_rle(empty, CLASSES) == []
    assert to_polygons(empty, CLASSES) == []
    assert not from_png(to_png(empty)).any()


def test_a_png_that_is_no_label_map_is_refused() -> None:
    with pytest.raises(ValueError, match="one 8-bit channel"):
        from_png("bm8gcG5n")

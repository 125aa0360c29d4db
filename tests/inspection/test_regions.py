"""Regions of interest, ignored regions and zones: which pixels are judged, and what lies in them."""

import time
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.inspection.errors import RecipeDoesNotFit
from app.inspection.measuring.findings import find, unexplained
from app.inspection.measuring.polygons import Drawings
from app.inspection.measuring.regions import by_zone, rasterise, scope_of
from app.inspection.results import TileProbability
from app.inspection.rules.geometry import PartRegion
from app.inspection.rules.recipe import Limits, PartFrame, Recipe, Region, Zone
from tests.inspection.rules import CLASSES, label_maps

LEFT = Region(polygon_px=((0, 0), (16, 0), (16, 24), (0, 24)))
FULL = np.ones((24, 32), dtype=np.uint8)


def box(x: float, y: float, width: float, height: float) -> tuple[tuple[float, float], ...]:
    return (x, y), (x + width, y), (x + width, y + height), (x, y + height)


def in_scope(label_map: NDArray[np.uint8], recipe: Recipe) -> NDArray[np.uint8]:
    return scope_of((label_map.shape[0], label_map.shape[1]), recipe).of(label_map)


def test_box_holds_the_pixels_of_a_defect_with_that_bbox() -> None:
    inside = rasterise(np.array(box(3, 4, 5, 2)), (24, 32))
    expected = np.zeros((24, 32), dtype=np.bool_)
    expected[4:6, 3:8] = True
    np.testing.assert_array_equal(inside, expected)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-90, 120), st.integers(-90, 120)), min_size=3, max_size=7))
def test_pixels_are_inside_where_an_odd_number_of_sides_lies_on_their_left(
    corners: list[tuple[int, int]],
) -> None:
    """Even-odd, by the crossings of each row, one pixel at a time."""
    points = np.array(corners, dtype=np.float64) / 4 + 0.0625
    inside = rasterise(points, (24, 32))
    turns = np.zeros((24, 32), dtype=np.int64)
    for (x, y), (to_x, to_y) in zip(points, np.roll(points, -1, axis=0), strict=True):
        for row in range(24):
            if (y <= row) != (to_y <= row):
                turns[row] += x + (row - y) * (to_x - x) / (to_y - y) <= np.arange(32)
    np.testing.assert_array_equal(inside, turns % 2 == 1)


def test_circle_is_where_it_should_be() -> None:
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    inside = rasterise(np.column_stack((15 + 8.2 * np.cos(angles), 11 + 8.2 * np.sin(angles))), (24, 32))
    ys, xs = np.mgrid[:24, :32]
    np.testing.assert_array_equal(inside, np.hypot(xs - 15, ys - 11) < 8.2)


def test_neighbours_share_no_pixel_and_leave_none_out() -> None:
    corners = [(0, 0), (32, 0), (32, 24), (0, 24)]
    middle = (11.3, 9.7)
    parts = [
        rasterise(np.array([a, b, middle]), (24, 32))
        for a, b in zip(corners, [*corners[1:], corners[0]], strict=True)
    ]
    np.testing.assert_array_equal(np.sum(parts, axis=0), 1)


def test_without_regions_nothing_is_copied() -> None:
    assert in_scope(FULL, Recipe(name="a")) is FULL


def test_roi_and_ignore() -> None:
    recipe = Recipe(name="a", roi=[LEFT, Region(polygon_px=box(20, 0, 2, 2))],
                    ignore=[Region(polygon_px=box(0, 0, 4, 24))])  # fmt: skip
    scope = in_scope(FULL, recipe)
    assert scope.dtype == np.uint8
    assert scope[:, 4:16].all()
    assert scope[:2, 20:22].all()
    assert scope.sum() == 12 * 24 + 4
    ignoring = Recipe(name="a", ignore=[LEFT])
    assert in_scope(FULL, ignoring).sum() == 16 * 24


def test_part_coordinates_turn_with_the_part() -> None:
    """At 90 degrees the part's x runs up on the image and its y to the left; 0.5 mm are a pixel."""
    frame = PartFrame(origin_px=(20.0, 20.0), angle_deg=90)
    region = Region(polygon_mm=box(1, 1, 3, 2))
    corners = region.corners_px(frame, 0.5)
    np.testing.assert_allclose(corners, [(18, 18), (18, 12), (14, 12), (14, 18)])
    straight = region.corners_px(PartFrame(origin_px=(20.0, 20.0)), 0.5)
    np.testing.assert_allclose(straight, [(22, 18), (28, 18), (28, 14), (22, 14)])


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"roi": [Region(polygon_px=box(40, 0, 9, 9))]}, r"roi\.0 holds no pixel of this image of 32 x 24"),
        ({"ignore": [Region(polygon_px=box(0, 0, 32, 24))]}, "leave no pixel to inspect"),
        ({"roi": [LEFT], "zones": {"rim": (20, 0, 9, 9)}}, r"zones\.rim holds no pixel that is inspected"),
    ],
)
def test_rules_that_would_judge_nothing_are_refused(rules: dict[str, Any], says: str) -> None:
    zones = {
        name: Zone(polygon_px=box(*place), other=Limits(max_count=0))
        for name, place in rules.get("zones", {}).items()
    }
    with pytest.raises(RecipeDoesNotFit, match=says):
        find(FULL, None, CLASSES, Recipe(name="a", **rules | {"zones": zones}))


@settings(max_examples=60, deadline=None)
@given(label_maps())
def test_zones_hold_the_pieces_of_the_defects_in_them(label_map: NDArray[np.uint8]) -> None:
    other = Limits(max_count=0)
    zones = {
        "left": Zone(polygon_px=LEFT.polygon_px, other=other),
        "slant": Zone(polygon_px=((2, 22), (15.5, 1.5), (30, 22)), other=other),
    }
    recipe = Recipe(name="a", zones=zones, ignore=[Region(polygon_px=box(5, 5, 9, 3))])
    found, scope = find(label_map, None, CLASSES, recipe), scope_of((24, 32), recipe)
    judged = scope.of(label_map)
    for zone, (_, inside) in zip(found.zones, by_zone(judged, recipe, scope), strict=True):
        assert sum(each.area_px for each in zone.defects) == np.count_nonzero(inside)
        for piece, number in zip(zone.defects, zone.parents, strict=True):
            parent = found.defects[number]
            value = CLASSES.index(piece.defect_class) + 1
            _, labels = cv2.connectedComponents((judged == value).view(np.uint8), connectivity=8)
            (of_piece,) = _labels_with_box(labels, inside == value, piece.bbox)
            (of_parent,) = _labels_with_box(labels, judged == value, parent.bbox)
            assert of_piece == of_parent


def _labels_with_box(
    labels: NDArray[Any], mask: NDArray[np.bool_], bbox: tuple[int, int, int, int]
) -> set[int]:
    """The labels under the regions of a mask that have exactly this box."""
    _, own, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    boxes = [tuple(each) for each in stats[:, :4].tolist()]
    return {int(labels[own == k].max()) for k in range(1, len(boxes)) if boxes[k] == bbox}


def test_regions_cost_little() -> None:
    picture = np.zeros((300, 400), dtype=np.uint8)
    roi = [Region(polygon_px=box(5, 5, 390, 290)), Region(polygon_px=((1, 1), (200.5, 3), (90, 250)))]
    quickest = []
    for recipe in (Recipe(name="a"), Recipe(name="a", roi=roi)):
        durations = []
        for _ in range(20):
            start = time.perf_counter()
            in_scope(picture, recipe)
            durations.append(time.perf_counter() - start)
        quickest.append(min(durations))
    assert quickest[0] < 0.0001
    assert quickest[1] < 0.02


def test_a_defect_explains_only_what_its_own_tiles_say() -> None:
    label_map = np.zeros((64, 128), np.uint8)
    label_map[10, 10] = 1
    left, right = (slice(0, 64), slice(0, 64)), (slice(0, 64), slice(64, 128))
    tiles = (TileProbability(*left, 0.9), TileProbability(*right, 0.8))
    whole = scope_of((64, 128), Recipe(name="whole"))
    halves = [
        scope_of((64, 128), Recipe(name="half", roi=[Region(polygon_px=box(x, 0, 60, 60))])) for x in (0, 66)
    ]
    assert unexplained(label_map, tiles, whole) == 0.8
    assert [unexplained(label_map, tiles, half) for half in halves] == [None, 0.8]
    assert unexplained(np.zeros_like(label_map), tiles, whole) == 0.9
    assert unexplained(np.ones_like(label_map), tiles, whole) is None


def test_pieces_in_a_zone_know_their_defects_however_many() -> None:
    label_map = np.zeros((200, 200), np.uint8)
    label_map[::4, ::4] = 1
    label_map[1, :] = 1  # joins the first row of specks
    zone = Zone(polygon_px=((50, -1), (150, -1), (150, 200), (50, 200)), other=Limits(max_count=0))
    found = find(label_map, None, ("dark",), Recipe(name="a", zones={"middle": zone}))
    (pieces,) = found.zones
    assert len(pieces.defects) == 1 + 49 * 25
    for piece, parent in zip(pieces.defects, pieces.parents, strict=True):
        x, y, width, height = found.defects[parent].bbox
        assert x <= piece.bbox[0]
        assert piece.bbox[0] + piece.bbox[2] <= x + width
        assert y <= piece.bbox[1]
        assert piece.bbox[1] + piece.bbox[3] <= y + height
        assert (piece.area_px > 1) == (parent == 0)


def test_many_zones_end_when_told() -> None:
    label_map = np.zeros((1900, 2600), np.uint8)
    zone = Zone(polygon_px=((0, 0), (2600, 0), (2600, 1900)), other=Limits(max_count=0))
    recipe = Recipe(name="a", zones={f"zone {number}": zone for number in range(100)})
    calls = [None] * 3
    with pytest.raises(IndexError, match="pop from empty list"):
        find(label_map, None, ("dark",), recipe, calls.pop)


SMALL = [Region(polygon_px=box(number, 2, 4, 4)) for number in range(20)]


@pytest.mark.parametrize("recipe", [Recipe(name="a", roi=SMALL), Recipe(name="a", ignore=SMALL)])
def test_many_regions_end_when_told(recipe: Recipe) -> None:
    """And each is drawn once: what is drawn for the scope is not drawn for the defects again."""
    with pytest.raises(IndexError, match="pop from empty list"):
        scope_of((24, 32), recipe, ([None] * 19).pop)
    scope = scope_of((24, 32), recipe, ([None] * 20).pop)
    find(FULL * 0, None, CLASSES, recipe, [].pop, scope)


def test_small_regions_of_a_large_picture_cost_little() -> None:
    """Only what lies around a polygon is drawn."""
    recipe = Recipe(name="a", ignore=[Region(polygon_px=box(n, n, 30, 20)) for n in range(100)])
    durations = []
    for _ in range(3):
        start = time.perf_counter()
        scope_of((4000, 4000), recipe)
        durations.append(time.perf_counter() - start)
    assert min(durations) < 0.5


def test_a_side_that_is_all_but_level_is_no_trouble() -> None:
    corners = np.array([[0, 0], [100, 1e-320], [50, 50]])
    assert rasterise(corners, (60, 60)).any()


def star(points: int, radius: float) -> tuple[tuple[float, float], ...]:
    """A polygon of many sides, each of which crosses most rows of a small image."""
    angles = np.arange(points) * 2.4
    return tuple((16 + radius * np.cos(a), 12 + radius * np.sin(a)) for a in angles.tolist())


@pytest.mark.parametrize("shape", [(24, 32), (24, 64), (24, 65), (1, 1), (130, 3)])
def test_a_drawn_polygon_is_the_same_in_words_of_any_width(shape: tuple[int, int]) -> None:
    corners = np.array(star(60, 40))
    wide = rasterise(corners, (200, 200))
    np.testing.assert_array_equal(rasterise(corners, shape), wide[: shape[0], : shape[1]])
    scope = scope_of(shape, Recipe(name="a", ignore=[Region(polygon_px=box(-9, -9, 1, 1))]))
    assert scope.mask is not None
    assert scope.mask.pixels(0, shape[0]).all()
    assert scope.mask.pixels(0, shape[0]).shape == shape


def test_polygons_are_drawn_once_for_each_size() -> None:
    recipe = Recipe(
        name="a",
        roi=[Region(polygon_px=star(640, 40))],
        zones={"z": Zone(polygon_px=star(640, 30), other=Limits(max_count=0))},
    )
    drawings = Drawings()

    def calls(shape: tuple[int, int]) -> int:
        """How often `check` is called: once for each region, and more while one is drawn."""
        called: list[None] = []
        scope = scope_of(shape, recipe, lambda: called.append(None), drawings)
        list(by_zone(np.zeros(shape, np.uint8), recipe, scope, lambda: called.append(None)))
        return len(called)

    assert [calls((24, 32)), calls((24, 32)), calls((25, 32)), calls((24, 32))] == [20, 2, 20, 2]


def test_kept_polygons_are_bounded_and_cannot_be_changed() -> None:
    drawings = Drawings(max_bytes=20_000)
    corners = [np.array(box(0, 0, 60, number + 1)) for number in range(1000)]
    for each in corners:
        drawn = drawings.draw(each, (1000, 64))
        assert drawings.nbytes <= 20_000
        with pytest.raises(ValueError, match="read-only"):
            drawn.words[0] = 0
    assert drawings.draw(corners[-1], (1000, 64)) is drawn
    assert drawings.nbytes > 8_000
    large = np.array(box(0, 0, 64, 5000))
    assert drawings.draw(large, (5000, 64)) is not drawings.draw(large, (5000, 64))
    assert drawings.draw(corners[-1], (1000, 64)) is drawn


def test_the_part_is_not_kept() -> None:
    """It lies elsewhere in each image."""
    drawings = Drawings()
    recipe = Recipe(name="a", roi=[PartRegion(polygon_px=star(64, 40))])
    assert scope_of((24, 32), recipe, drawings=drawings).reaches(slice(0, 24), slice(0, 32))
    assert drawings.nbytes == 0

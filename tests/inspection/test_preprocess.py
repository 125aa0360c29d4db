"""Tiles cover the image, and the way back gives what went in."""

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.inspection.bundle.bundle import InputContract
from app.inspection.errors import ImageTooLarge
from app.inspection.inference.tiling import MAX_TILES, Tiles, cut, plan_tiles
from tests.inspection.stitching import blended, stitched

sides = st.integers(1, 90)


def contract(
    tile: tuple[int, int] = (16, 16), overlap: int = 4, colour: str = "gray", scale: float = 1.0
) -> InputContract:
    return InputContract.model_validate(
        {
            "tile_height": tile[0],
            "tile_width": tile[1],
            "overlap": overlap,
            "colour": colour,
            "pixel_scale": scale,
            "min_side_px": 1,
        }
    )


@given(sides, sides, st.integers(0, 8))
def test_tiles_cover_every_pixel_lie_inside_and_overlap_enough(height: int, width: int, overlap: int) -> None:
    plan = plan_tiles(height, width, contract((16, 24), overlap))
    for starts, tile, side in ((plan.rows, 16, height), (plan.columns, 24, width)):
        assert starts[0] == 0
        assert starts[-1] + tile == max(tile, side)
        assert all(0 < after - before <= tile - overlap for before, after in pairwise(starts))


def test_too_many_tiles_are_refused_before_they_are_laid() -> None:
    assert len(plan_tiles(16, 16 + 2047 * 12, contract()).places) == MAX_TILES
    with pytest.raises(ImageTooLarge, match="takes 2049 of the model's tiles"):
        plan_tiles(16, 17 + 2047 * 12, contract())
    with pytest.raises(ImageTooLarge):
        plan_tiles(10**12, 10**12, contract())


@settings(deadline=None)
@given(sides, sides, st.integers(0, 8), st.integers(0, 2**32 - 1))
def test_blending_brings_back_what_was_cut(height: int, width: int, overlap: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    tiles, plan = cut(image, contract((16, 24), overlap))
    assert tiles.shape == (len(plan.places), 16, 24, 1)
    maps = np.stack([tiles[..., 0], 255 - tiles[..., 0]], axis=1)
    whole = blended(maps, plan)
    np.testing.assert_array_equal(whole, np.stack([image, 255 - image]))


@settings(deadline=None)
@given(sides, sides, st.integers(0, 8), st.integers(1, 9), st.sampled_from([1.0, 0.6, 1.5]), st.randoms())
def test_parts_are_what_the_whole_would_be_to_the_last_level(
    height: int, width: int, overlap: int, at_once: int, scale: float, random: Random
) -> None:
    """Also where tiles disagree, and where a class is nowhere or only here and there."""
    plan = plan_tiles(height, width, contract((16, 24), overlap, scale=scale))
    rng = np.random.default_rng(random.getrandbits(32))
    maps = rng.integers(0, 256, (len(plan.places), 3, 16, 24), dtype=np.uint8)
    maps[:, 1] *= rng.integers(0, 2, (len(maps), 1, 1), dtype=np.uint8)
    maps[:, 2] = 0
    np.testing.assert_array_equal(blended(maps, plan, at_once), stitched(maps, plan))


def test_a_picture_is_worked_through_along_its_longer_side() -> None:
    assert plan_tiles(16, 28, contract()).lines == [[0], [1]]
    assert plan_tiles(28, 16, contract()).lines == [[0], [1]]
    assert plan_tiles(28, 40, contract()).lines == [[0, 3], [1, 4], [2, 5]]
    assert plan_tiles(40, 28, contract()).lines == [[0, 1], [2, 3], [4, 5]]


def test_tiles_are_cut_from_the_picture_itself_where_nothing_has_to_change() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 28), dtype=np.uint8)
    tiles = Tiles(image, contract())
    np.testing.assert_array_equal(tiles.cut([4, 1]), cut(image, contract())[0][[4, 1]])
    image[:] = 7
    assert np.all(tiles.cut([3]) == 7)


def test_blending_goes_gradually_from_tile_to_tile() -> None:
    plan = plan_tiles(16, 28, contract())  # two tiles, side by side, sharing columns 12..15
    maps = np.zeros((2, 1, 16, 16), dtype=np.uint8)
    maps[1] = 250
    row = blended(maps, plan)[0, 8].astype(int)
    assert np.all(row[:12] == 0)
    assert np.all(row[16:] == 250)
    np.testing.assert_array_equal(row[12:16], [50, 100, 150, 200])


def test_small_picture_is_padded_by_reflection_at_the_right_and_below() -> None:
    image = np.array([[0, 10, 20], [30, 40, 50]], dtype=np.uint8)
    tiles, _ = cut(image, contract((8, 8), 0))
    np.testing.assert_array_equal(tiles[0, 0, :, 0], [0, 10, 20, 10, 0, 10, 20, 10])
    np.testing.assert_array_equal(tiles[0, :, 0, 0], [0, 30, 0, 30, 0, 30, 0, 30])


def test_grey_is_made_by_rec_601_and_rgb_keeps_its_order() -> None:
    red = np.zeros((16, 16, 3), dtype=np.uint8)
    red[..., 0] = 200
    assert np.all(cut(red, contract())[0] == round(200 * 0.299))
    assert np.all(cut(red, contract(colour="rgb"))[0] == (200, 0, 0))
    grey = np.full((16, 16), 77, dtype=np.uint8)
    np.testing.assert_array_equal(cut(grey, contract())[0], cut(np.dstack([grey] * 3), contract())[0])
    assert cut(grey, contract(colour="rgb"))[0].shape == (1, 16, 16, 3)


@pytest.mark.parametrize("scale", [0.5, 0.37, 2.0])
def test_pixel_scale_is_applied_and_undone(scale: float) -> None:
    image = np.full((61, 83), 40, dtype=np.uint8)
    image[20:40, 30:60] = 200
    tiles, plan = cut(image, contract(scale=scale))
    assert (plan.scaled_height, plan.scaled_width) == (round(61 * scale), round(83 * scale))
    whole = blended(tiles.transpose(0, 3, 1, 2), plan)
    assert whole.shape == (1, 61, 83)
    np.testing.assert_array_equal(whole[0, 24:36, 34:56], 200)
    np.testing.assert_array_equal(whole[0, :14], 40)


def test_a_thin_line_survives_shrinking() -> None:
    image = np.full((64, 64), 255, dtype=np.uint8)
    image[:, 33] = 0
    tiles, _ = cut(image, contract(scale=0.25, overlap=0))
    assert tiles.min() < 200

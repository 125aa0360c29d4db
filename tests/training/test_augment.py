"""Augmentation keeps pixels and labels together, and loses no small defect."""

from typing import get_args

import cv2
import numpy as np
import pytest

from training.config import FitConfig
from training.data.augment import ON_DEFECT, STRENGTHS, Augmentation, Strength, StrengthName, _Exposure
from training.data.sample import Bits, Pixels

TILE = 128
DRAWS = 500


def _defect(shape: str, surface: int, difference: int) -> tuple[Pixels, Bits]:
    """A grainy surface with one defect 3 px across, of two overlapping classes."""
    grain = np.random.default_rng(3).normal(0, 4, (300, 340))
    bits = np.zeros(grain.shape, np.uint16)
    if shape == "dot":
        bits[150:153, 170:173] = 0x8001
    else:
        cv2.line(bits, (150, 120), (190, 160), 0x8001, 3)
    pixels = surface + grain + difference * (bits > 0)
    return np.clip(pixels, 0, 255).astype(np.uint8), bits


def test_every_strength_is_configurable() -> None:
    assert set(get_args(FitConfig.model_fields["augmentation"].annotation)) == set(STRENGTHS)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_tile_shape_for_small_and_large_pictures(strength: StrengthName) -> None:
    augment = Augmentation(TILE, 1, strength)
    for shape in ((90, 400), (64, 64), (300, 100), (500, 500)):
        for marked in (0, 1):
            pixels, bits = augment(np.full(shape, 100, np.uint8), np.full(shape, marked, np.uint16))
            assert pixels.shape == bits.shape == (TILE, TILE)
            assert pixels.dtype == np.uint8
            assert bits.dtype == np.uint16
            assert (bits == marked).all()  # mirrored beyond the edge, never filled


def test_same_seed_same_tiles() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (200, 200), dtype=np.uint8)
    bits = (pixels // 128).astype(np.uint16)
    first, second = Augmentation(TILE, seed=5), Augmentation(TILE, seed=5)
    for _ in range(5):
        one, two = first(pixels, bits), second(pixels, bits)
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])


def test_numbered_draw_is_the_same_whatever_came_before() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (200, 200), dtype=np.uint8)
    bits = (pixels // 128).astype(np.uint16)
    first, second = Augmentation(TILE, seed=5, strength="strong"), Augmentation(TILE, 5, "strong")
    forth = [first(pixels, bits, draw)[0] for draw in range(8)]
    back = [second(pixels, bits, draw)[0] for draw in reversed(range(8))]
    np.testing.assert_array_equal(forth, back[::-1])
    assert len({tile.tobytes() for tile in forth}) == 8


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("shape", ["dot", "line"])
@pytest.mark.parametrize(("surface", "difference"), [(60, -30), (200, 50), (110, -40)])
def test_defect_of_3_px_survives_and_stays_where_it_is_seen(
    strength: StrengthName, shape: str, surface: int, difference: int
) -> None:
    pixels, bits = _defect(shape, surface, difference)
    augment = Augmentation(TILE, 2, strength)
    shown = visible = 0
    for _ in range(DRAWS // 3):
        tile, labels = augment(pixels, bits)
        assert set(np.unique(labels)) <= {0, 0x8001}
        if not labels.any():
            continue
        shown += 1
        near = cv2.dilate((labels > 0).astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
        inside = float(np.median(tile[labels > 0]))
        around = float(np.median(tile[near & (labels == 0)]))
        visible += int(np.sign(difference) * (inside - around) >= 5)
    assert shown >= 0.7 * (DRAWS // 3)  # ON_DEFECT of the tiles are laid on it
    assert visible >= 0.97 * shown


@pytest.mark.parametrize("strength", STRENGTHS)
def test_defect_keeps_most_of_its_area(strength: StrengthName) -> None:
    pixels, bits = _defect("dot", 110, -40)
    bits[:], pixels[:] = 0, 110
    bits[148:151, 168:171] = 1
    augment = Augmentation(TILE, 3, strength)
    areas = [int(np.count_nonzero(augment(pixels, bits)[1])) for _ in range(DRAWS)]
    whole = [area for area in areas if area]
    assert np.mean([area >= 5 for area in whole]) >= 0.95
    assert len(whole) / DRAWS >= ON_DEFECT - 0.05


def test_tile_without_the_defect_is_labelled_good() -> None:
    pixels, bits = np.full((300, 340), 110, np.uint8), np.zeros((300, 340), np.uint16)
    bits[150:153, 170:173] = 1
    pixels[150:153, 170:173] = 10
    augment, missed = Augmentation(64, 4, "light"), 0
    for _ in range(DRAWS):
        tile, labels = augment(pixels, bits)
        if not labels.any():
            missed += 1
            assert (
                np.count_nonzero(tile.astype(float) < 0.6 * np.median(tile)) <= 8
            )  # noise, or its very edge
    assert missed > 0.1 * DRAWS


def test_a_defect_comes_to_lie_anywhere_in_the_tile_and_turned_all_ways() -> None:
    pixels, bits = np.full((400, 400), 110, np.uint8), np.zeros((400, 400), np.uint16)
    bits[200:202, 200:230] = 1
    augment = Augmentation(TILE, 5, "light")
    centres, upright = [], 0
    for _ in range(200):
        labels = augment(pixels, bits)[1]
        rows, columns = np.nonzero(labels)
        if len(rows):
            centres.append((rows.mean(), columns.mean()))
            upright += int(np.ptp(rows) > np.ptp(columns))
    spread = np.ptp(np.array(centres), axis=0)
    assert (spread > 0.8 * TILE).all()
    assert 0.3 < upright / len(centres) < 0.7


def test_exposure_spans_what_lamps_do_and_leaves_room_for_defects() -> None:
    tile = np.full((64, 64, 1), 110, np.uint8)
    medians = []
    for seed in range(200):
        exposure = _Exposure(STRENGTHS["standard"], p=1)
        exposure.set_random_seed(seed)
        medians.append(np.median(exposure(image=tile)["image"]))
    assert min(medians) < 110 / 1.6
    assert max(medians) > 110 * 1.6
    assert max(medians) < 255


def test_uneven_light_is_smooth_and_as_deep_as_told() -> None:
    quiet = Strength(0, 0, 0, 1, 1, gain=1, gamma=1, offset=0, light=0.3, blur=0.3, noise=0.02, jpeg=90)
    exposure = _Exposure(quiet, p=1)
    exposure.set_random_seed(1)
    lit = exposure(image=np.full((128, 128, 1), 100, np.uint8))["image"][..., 0].astype(float)
    assert 20 < np.ptp(lit) < 80
    assert np.abs(np.diff(lit, axis=0)).max() <= 2


def test_without_variation_a_tile_is_a_cut_of_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    still = Strength(0, 0, 0, 1, 0, 1, 1, 0, 0, 0.3, 0.02, 90)
    monkeypatch.setitem(STRENGTHS, "light", still)
    pixels = np.random.default_rng(0).integers(0, 255, (200, 240), dtype=np.uint8)
    bits = (pixels > 200).astype(np.uint16)
    windows = {
        turn.tobytes()
        for each in (pixels, pixels[::-1], pixels[:, ::-1], pixels[::-1, ::-1])
        for turned in (each, each.T)
        for turn in (turned[r, c : c + 8] for r in range(turned.shape[0]) for c in range(turned.shape[1] - 8))
    }
    augment, exact = Augmentation(64, 1, "light"), 0
    for _ in range(60):
        tile, labels = augment(pixels, bits)
        if tile[30, 20:28].tobytes() in windows:
            exact += 1
            assert ((tile > 200) == (labels > 0)).mean() > 0.98
    assert exact >= 20  # those without blur, noise and JPEG

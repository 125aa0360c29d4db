"""Augmentation keeps pixels and labels together, and loses no small defect."""

import numpy as np
import pytest

from training.augment import Augmentation


def test_tile_shape_for_small_and_large_pictures() -> None:
    augment = Augmentation(128, seed=1)
    for shape in ((90, 400), (64, 64), (300, 100), (500, 500)):
        pixels, bits = augment(np.full(shape, 100, np.uint8), np.zeros(shape, np.uint16))
        assert pixels.shape == bits.shape == (128, 128)
        assert (pixels.dtype, bits.dtype) == (np.uint8, np.uint16)


def test_same_seed_same_tiles() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (200, 200), dtype=np.uint8)
    bits = (pixels // 128).astype(np.uint16)
    first, second = Augmentation(128, seed=5), Augmentation(128, seed=5)
    for _ in range(5):
        one, two = first(pixels, bits), second(pixels, bits)
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])


@pytest.mark.parametrize("side", [3, 6])
def test_small_defects_survive_and_stay_where_they_are_seen(side: int) -> None:
    pixels, bits = np.full((300, 300), 200, np.uint8), np.zeros((300, 300), np.uint16)
    pixels[150 : 150 + side, 150 : 150 + side] = 0
    bits[150 : 150 + side, 150 : 150 + side] = 0x8001
    augment = Augmentation(128, seed=2)
    seen = 0
    for _ in range(40):
        tile, labels = augment(pixels, bits)
        assert set(np.unique(labels)) <= {0, 0x8001}
        if labels.any():
            seen += 1
            assert tile[labels > 0].mean() < tile[labels == 0].mean() - 50
    assert seen >= 28  # three crops of four are laid on the defect

"""Dice, IoU and their rule for empty masks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from app.inspection import mask_metrics
from app.inspection.mask_metrics import confusion, dice, dice_of_counts, label_iou, soft_dice_confidence

Mask = NDArray[np.bool_]
TABLE = np.arange(256) / 255
masks = arrays(np.bool_, (6, 7))
NOTHING, ALL = np.zeros((4, 4), dtype=bool), np.ones((4, 4), dtype=bool)


def iou(first: Mask, second: Mask) -> float:
    """That of two label maps with one class."""
    return label_iou(first.astype(np.uint8), second.astype(np.uint8))


def test_empty_masks() -> None:
    assert dice(NOTHING, NOTHING) == iou(NOTHING, NOTHING) == 1.0
    assert dice(NOTHING, ALL) == dice(ALL, NOTHING) == iou(NOTHING, ALL) == 0.0


def test_known_values() -> None:
    left, top = NOTHING.copy(), NOTHING.copy()
    left[:, :2], top[:2] = True, True
    assert dice(left, top) == 0.5
    assert iou(left, top) == pytest.approx(4 / 12)


@given(masks, masks)
def test_dice_and_iou_agree(first: Mask, second: Mask) -> None:
    overlap = iou(first, second)
    assert dice(first, second) == dice(second, first) == pytest.approx(2 * overlap / (1 + overlap))
    assert dice(first, first) == iou(first, first) == 1.0


def test_label_iou_counts_only_pixels_of_the_same_class() -> None:
    labels = np.array([[0, 1, 1, 2]], dtype=np.uint8)
    assert label_iou(labels, labels) == 1.0
    assert label_iou(labels, np.array([[0, 2, 2, 2]], dtype=np.uint8)) == pytest.approx(1 / 3)
    assert label_iou(labels, np.array([[1, 1, 1, 2]], dtype=np.uint8)) == 0.75
    assert label_iou(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8)) == 1.0


def test_soft_dice_confidence_by_hand() -> None:
    levels = np.array([[9, 6, 3, 0]], dtype=np.uint8)
    mask = np.array([[True, True, False, False]])
    assert soft_dice_confidence(levels, mask, np.arange(256) / 10) == pytest.approx(2 * 1.5 / (1.8 + 2))


def test_soft_dice_confidence_of_nothing() -> None:
    assert soft_dice_confidence(np.array([[255, 51, 0]], np.uint8), np.zeros((1, 3), bool), TABLE) is None


@given(masks)
def test_certain_probabilities_expect_the_dice_they_have(mask: Mask) -> None:
    expected = 1.0 if mask.any() else None
    assert soft_dice_confidence(mask.astype(np.uint8) * 255, mask, TABLE) == expected


def test_large_pictures_are_counted_strip_by_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (50, 40), dtype=np.uint8)
    first, second = (rng.integers(0, 4, (50, 40), dtype=np.uint8) for _ in range(2))
    chance, inside = TABLE[levels], TABLE[levels][first > 0]
    expected = 2 * inside.sum() / (chance.sum() + np.count_nonzero(first))
    for size in (1, 120, 10**6):
        monkeypatch.setattr(mask_metrics, "STRIP_PX", size)
        assert soft_dice_confidence(levels, first, TABLE) == pytest.approx(expected)
        pixels = confusion(first, second, 3)
        for k in range(4):
            counts = (int(pixels[k].sum()), int(pixels[:, k].sum()), int(pixels[k, k]))
            assert dice_of_counts(*counts) == dice(first == k, second == k)


def test_masks_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="the same shape"):
        dice(NOTHING, NOTHING[:1])

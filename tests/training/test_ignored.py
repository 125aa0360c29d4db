"""Ignored pixels count in no loss and no figure."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from app.inspection.inspector import Inspector
from tests.tiny_bundle import png, tiny_picture, write_tiny_bundle
from tests.training.scored import scored
from training.config import LossConfig, ModelConfig
from training.data.augment import Augmentation
from training.data.datamodule import TrainingTiles, ValidationTiles, input_contract
from training.data.masks import MaskImage, Named
from training.data.pictures import GOOD, LoadedPictures, Picture, load_pictures, resize_bits
from training.data.sample import IGNORED, IGNORED_NUMBER, Blob, Sample
from training.evaluation.compared import compare_samples
from training.evaluation.pixels import PixelLevels
from training.model.losses import segmentation_loss
from training.thresholds.calibration import count_levels
from training.transplant.donors import Marked, cut_donors

KINDS = ("bce-dice", "focal", "tversky", "focal-tversky", "boundary")


def batch(bits: torch.Tensor, defective: float = 1.0) -> dict[str, torch.Tensor]:
    return {
        "class_bits": bits.to(torch.int32),
        "mask_known": torch.ones(len(bits), dtype=torch.bool),
        "defective": torch.full((len(bits),), defective),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_no_loss_depends_on_what_is_said_of_ignored_pixels(kind: str) -> None:
    config = LossConfig(kind=kind, agreement=0.5)  # type: ignore[arg-type]
    bits = torch.zeros(1, 24, 24)
    bits[:, 4:9, 4:9], bits[:, 14:, 14:] = 1, int(IGNORED)
    noise = torch.randn(1, 2, 24, 24, generator=torch.Generator().manual_seed(1))
    losses = []
    for shift in (0.0, 1.5):
        logits = noise.clone()
        logits[:, :, 14:, 14:] += shift
        logits[:, :, 0, 0] = -9.0  # the lowest stays the same
        logits.requires_grad_()
        parts = segmentation_loss(logits, torch.zeros(1), batch(bits), 0.5, config)
        parts["total"].backward()  # type: ignore[no-untyped-call]
        assert logits.grad is not None
        assert not logits.grad[:, :, 14:, 14:].any()
        assert logits.grad[:, :, :9, :9].any()
        losses.append(float(parts["total"].detach()))
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_loss_of_ignored_pixels_is_that_of_the_image_without_them() -> None:
    bits = torch.zeros(1, 20, 40)
    bits[:, 4:9, 4:9], bits[:, :, 20:] = 1, int(IGNORED)
    logits = torch.randn(1, 1, 20, 40, generator=torch.Generator().manual_seed(2))
    whole = segmentation_loss(logits, torch.zeros(1), batch(bits), 0.5)
    part = segmentation_loss(logits[..., :20], torch.zeros(1), batch(bits[..., :20]), 0.5)
    for name in ("pixel", "dice", "image"):
        assert float(whole[name]) == pytest.approx(float(part[name]), abs=1e-6)


def test_tile_of_ignored_pixels_without_a_defect_does_not_train_the_head() -> None:
    bits = torch.zeros(2, 8, 8)
    bits[0, :2] = int(IGNORED)
    alone = segmentation_loss(torch.zeros(1, 1, 8, 8), torch.tensor([3.0]), batch(bits[1:], 0.0), 0.5)
    both = segmentation_loss(torch.zeros(2, 1, 8, 8), torch.tensor([9.0, 3.0]), batch(bits, 0.0), 0.5)
    assert float(both["image"]) == pytest.approx(float(alone["image"]))


def sample_of(folder: Path, name: str, numbers: np.ndarray, defective: bool) -> Sample:
    """An image of the tiny bundle with a dark box at 20, 30, and a mask of class numbers and 255."""
    image, mask = folder / f"{name}.png", folder / f"{name}.mask.png"
    image.write_bytes(png(tiny_picture(numbers.shape[0], numbers.shape[1], dark=(20, 30, 20, 10))))
    mask.write_bytes(png(numbers))
    meaning = Named({0: 0, 1: 1, 255: IGNORED_NUMBER}, "labels")
    return Sample(
        name, name, "made", "dark" if defective else "good", defective, Blob(image),
        MaskImage(Blob(mask), meaning), ignores=True,
    )  # fmt: skip


def test_figures_of_a_picture_leave_ignored_pixels_out(tmp_path: Path) -> None:
    numbers = np.zeros((96, 80), np.uint8)
    numbers[30:40, 20:30], numbers[28:42, 30:42] = 1, 255  # half of the box is marked, half ignored
    inspector = Inspector.load(write_tiny_bundle(tmp_path / "bundle"))
    marked, good = sample_of(tmp_path, "a", numbers, True), sample_of(tmp_path, "b", numbers, False)
    compared, of_good = compare_samples(inspector, [marked, good])
    assert compared.dice == pytest.approx(1.0)
    assert compared.defect_px == 100
    assert compared.overlap is not None
    assert (compared.overlap.marked, compared.overlap.called, compared.overlap.common) == (100, 100, 100)
    assert compared.class_dice == {"dark": pytest.approx(1.0)}
    assert of_good.overlap is not None
    assert of_good.overlap.called == 100  # a false alarm where it is not ignored


def test_pixel_figures_and_calibration_leave_ignored_pixels_out() -> None:
    bits = np.zeros((10, 20), np.uint16)
    bits[2:6, 2:6], bits[:, 10:] = 1, IGNORED
    levels = np.random.default_rng(3).integers(0, 256, (1, 10, 20), dtype=np.uint8)
    whole, part = PixelLevels(), PixelLevels()
    whole.add(levels, bits)
    part.add(levels[..., :10], bits[:, :10])
    np.testing.assert_array_equal(whole.good, part.good)
    np.testing.assert_array_equal(whole.defect, part.defect)
    each = scored(levels, bits, True, "part")
    each = replace(each, label=replace(each.label, ignores=True))  # type: ignore[type-var]
    cut = scored(levels[..., :10], bits[:, :10], True, "part")
    assert not each.probability[..., 10:].any()
    assert each.bits is not None
    assert not each.bits[:, 10:].any()
    for found, expected in zip(
        count_levels([each], [0.5], 1)[:2], count_levels([cut], [0.5], 1)[:2], strict=True
    ):
        np.testing.assert_array_equal(found.negative, expected.negative)
        np.testing.assert_array_equal(found.positive, expected.positive)


def test_ignored_pixels_are_neither_defects_nor_donors() -> None:
    bits = np.zeros((64, 64), np.uint16)
    bits[10:30, 10:30] = IGNORED
    pixels = np.full((64, 64), 90, np.uint8)
    good = LoadedPictures([Picture(pixels, bits, False)])
    assert good.strata == [GOOD]
    tiles = TrainingTiles(good, [0], Augmentation(64, 1))
    assert float(tiles[0]["defective"]) == 0.0
    assert (tiles[0]["class_bits"] == int(IGNORED)).any()
    contract = input_contract(ModelConfig(tile=64, overlap=0))
    assert (ValidationTiles(good, contract)[0]["class_bits"] == int(IGNORED)).sum() == 400
    assert cut_donors([Marked(pixels, bits, "part")]) == []
    np.testing.assert_array_equal(resize_bits(bits, (32, 32)) > 0, bits[::2, ::2] > 0)


def test_ignored_pixels_of_a_good_picture_are_loaded(tmp_path: Path) -> None:
    numbers = np.zeros((96, 80), np.uint8)
    numbers[:5] = 255
    (loaded,) = load_pictures([sample_of(tmp_path, "good", numbers, False)], 1.0)
    assert loaded.known
    assert not loaded.defective
    assert loaded.bits is not None
    np.testing.assert_array_equal(loaded.bits, np.where(numbers > 0, IGNORED, np.uint16(0)))
    assert cv2.countNonZero(loaded.bits.astype(np.uint8)) == 0  # nothing but the highest bit

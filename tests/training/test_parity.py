"""Parity: the same images through torch and through every artifact."""

from pathlib import Path

import pytest
import torch
from torch import nn

from app.inspection.bundle.bundle import Bundle
from tests.tiny_bundle import write_tiny_bundle
from training.evaluation.parity import parity
from training.files import write_manifest

from .labelled import tiny_dataset


class TinyGraph(nn.Module):
    """The graph of the tiny bundle in torch, `lower` levels lower."""

    def __init__(self, lower: int) -> None:
        super().__init__()
        self._lower = lower

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Levels and image probabilities."""
        grey = pixels.float().mean(dim=3)
        distance = torch.stack([grey, 255 - grey], dim=1)
        levels = (255 - 2 * distance - self._lower).clamp(0, 255)
        return levels.to(torch.uint8), levels.amax(dim=(1, 2, 3)) / 255


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A tiny bundle with a second artifact that passes everything."""
    directory = write_tiny_bundle(tmp_path / "tiny")
    bundle = Bundle.load(directory)
    fp32 = bundle.artifacts[0]
    blind = fp32.operating_point.model_copy(update={"image_threshold": 0.99, "head_threshold": 1.0})
    int8 = fp32.model_copy(update={"name": "int8", "operating_point": blind})
    write_manifest(directory, bundle.model_copy(update={"artifacts": (fp32, int8)}))
    return Bundle.load(directory)


def test_agreement_and_flips_by_hand(bundle: Bundle, tmp_path: Path) -> None:
    found = parity(bundle, TinyGraph(lower=0), tiny_dataset(tmp_path).samples)
    figures = found.figures()
    assert (figures["reference"], figures["pictures"], figures["tiles"]) == ("torch", 4, 4 * 4)
    assert figures["dice_per_defective_picture"] == 0.5
    assert figures["artifacts"]["fp32"] == {
        "max_mask_level_difference": 0,
        "max_image_probability_difference": pytest.approx(0, abs=1e-6),
        "mask_iou": {"mean": 1.0, "min": 1.0},
        "dice_per_defective_picture": 0.5,
        "verdict_flips": 0,
        "new_escapes": 0,
    }
    int8 = figures["artifacts"]["int8"]
    assert (int8["verdict_flips"], int8["new_escapes"], int8["dice_per_defective_picture"]) == (2, 1, 0.0)
    assert int8["mask_iou"] == {"mean": 0.5, "min": 0.0}
    assert found.agreements["int8"].flipped == ["found", "alarm"]
    assert found.agreements["fp32"].called == [True, False, False, True]
    assert not any(found.agreements["int8"].called)


def test_largest_difference_is_found(bundle: Bundle, tmp_path: Path) -> None:
    figures = parity(bundle, TinyGraph(lower=3), tiny_dataset(tmp_path).samples).figures()
    fp32 = figures["artifacts"]["fp32"]
    assert fp32["max_mask_level_difference"] == 3
    assert fp32["max_image_probability_difference"] == pytest.approx(3 / 255, abs=1e-6)
    assert fp32["verdict_flips"] == 0

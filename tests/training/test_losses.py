"""The losses: what is unlabelled teaches no pixel, and thin defects count as much as large ones."""

from typing import Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt

from training.config import LossConfig
from training.model.losses import REACH_PX, class_targets, segmentation_loss, signed_distance
from training.model.segmenter import image_probability

KINDS = get_args(LossConfig.model_fields["kind"].annotation)
Parts = dict[str, torch.Tensor]


def _loss(mask_logits: torch.Tensor, bits: torch.Tensor, known: bool = True, **config: Any) -> Parts:
    n = len(bits)
    batch = {
        "class_bits": bits,
        "mask_known": torch.full((n,), known),
        "defective": (bits.amax((1, 2)) > 0).float(),
    }
    return segmentation_loss(mask_logits, torch.zeros(n), batch, 0.5, LossConfig.model_validate(config))


def _perfect(bits: torch.Tensor, classes: int) -> torch.Tensor:
    return torch.where(class_targets(bits, classes) > 0, 20.0, -20.0)


def _bits(n: int = 2, side: int = 16) -> torch.Tensor:
    return torch.zeros(n, side, side, dtype=torch.int32)


def test_class_bits_unpack_to_overlapping_classes() -> None:
    bits = _bits(1)
    bits[0, 2, 3], bits[0, 4, 5] = 0b101, 0x8000
    target = class_targets(bits, 16)[0]
    assert torch.nonzero(target).tolist() == [[0, 2, 3], [2, 2, 3], [15, 4, 5]]


@pytest.mark.parametrize("kind", KINDS)
def test_right_answer_costs_nothing_but_the_head(kind: str) -> None:
    bits = _bits()
    bits[0, 4:8, 4:8] = 2
    bits[0, 6:10, 6:10] |= 4
    parts = _loss(_perfect(bits, 3), bits, kind=kind)
    assert parts["pixel"] < 1e-6
    assert parts["dice"] < 1e-3
    if kind != "boundary":  # whose least value is negative
        torch.testing.assert_close(parts["total"], 0.5 * parts["image"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_unlabelled_pictures_train_the_head_only(kind: str) -> None:
    logits = torch.zeros(2, 3, 16, 16, requires_grad=True)
    bits = _bits()
    bits[0, 4:8, 4:8] = 1  # must not be looked at
    parts = _loss(logits, bits, known=False, kind=kind, agreement=1.0)
    assert parts["image"] > 0
    torch.testing.assert_close(parts["total"], 0.5 * parts["image"])
    torch.autograd.backward(parts["total"])
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("kind", KINDS)
def test_unlabelled_pictures_do_not_dilute_the_others(kind: str) -> None:
    bits = _bits()
    bits[:, 4:8, 4:8] = 1
    logits = torch.randn(2, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    batch = {"class_bits": bits, "mask_known": torch.tensor([True, False]), "defective": torch.ones(2)}
    config = LossConfig.model_validate({"kind": kind, "agreement": 1.0})
    both = segmentation_loss(logits, torch.zeros(2), batch, 0.0, config)
    alone = {name: value[:1] for name, value in batch.items()}
    torch.testing.assert_close(
        both["total"], segmentation_loss(logits[:1], torch.zeros(1), alone, 0.0, config)["total"]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_missed_thin_crack_costs_as_much_as_a_missed_region(kind: str) -> None:
    thin, wide = _bits(1, 64), _bits(1, 64)
    thin[0, 30, 10:50] = 1
    wide[0, 10:50, 10:50] = 1
    missed = torch.full((1, 1, 64, 64), -20.0)
    both = _loss(missed.expand(2, -1, -1, -1), torch.cat([thin, wide]), kind=kind)["dice"]
    assert both > 0.95
    half = _loss(torch.cat([missed, _perfect(wide, 1)]), torch.cat([thin, wide]), kind=kind)["dice"]
    assert abs(half - both / 2) < 0.02


def test_false_area_of_another_class_costs_but_does_not_drown_a_small_defect() -> None:
    bits = _bits(1, 64)
    bits[0, 30:34, 30:34] = 1
    right = _perfect(bits, 2)
    elsewhere = right.clone()
    elsewhere[:, 1] = 20.0  # the other class everywhere
    missed = torch.full_like(right, -20.0)
    costs = {
        name: float(_loss(each, bits)["dice"])
        for name, each in (("right", right), ("elsewhere", elsewhere), ("missed", missed))
    }
    assert costs["right"] < 0.01 < costs["elsewhere"] < 0.51
    assert costs["missed"] > 0.9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_loss_and_gradient_are_finite_for_certain_and_wrong_answers(kind: str, dtype: torch.dtype) -> None:
    bits = _bits(3)
    bits[0, 4:8, 4:8], bits[1] = 3, 1  # overlapping classes; an image that is all defect; a good one
    wrong = -1000 * (2 * class_targets(bits, 2) - 1)
    for logits in (wrong, -wrong, torch.zeros_like(wrong)):
        logits = logits.to(dtype).requires_grad_()
        head = torch.tensor([-6e4, 6e4, 0.0], dtype=dtype, requires_grad=True)
        batch = {
            "class_bits": bits,
            "mask_known": torch.ones(3, dtype=torch.bool),
            "defective": torch.tensor([1.0, 1.0, 0.0]),
        }
        config = LossConfig.model_validate({"kind": kind, "agreement": 1.0, "head_smoothing": 0.1})
        parts = segmentation_loss(logits, head, batch, 0.5, config)
        torch.autograd.backward(parts["total"])
        assert all(value.isfinite() for value in parts.values())
        for each in (logits, head):
            assert each.grad is not None
            assert each.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_agrees_with_differences(kind: str) -> None:
    bits = _bits(2, 8)
    bits[0, 2:4, 2:6], bits[0, 3, 3:7] = 1, 2
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 2, 8, 8, generator=generator, requires_grad=True)
    direction = torch.randn(2, 2, 8, 8, generator=generator)
    options: dict[str, Any] = {"kind": kind, "agreement": 0.3}
    torch.autograd.backward(_loss(logits, bits, **options)["total"])
    assert logits.grad is not None
    with torch.no_grad():
        ahead, behind = (_loss(logits + step * direction, bits, **options)["total"] for step in (5e-3, -5e-3))
    expected = (ahead - behind) / 1e-2
    torch.testing.assert_close((logits.grad * direction).sum(), expected, rtol=5e-3, atol=1e-4)


def test_focal_counts_hard_pixels_and_spares_easy_ones() -> None:
    bits = _bits(1)
    bits[0, 4:8, 4:8] = 1
    easy, hard = _perfect(bits, 1) / 10, -_perfect(bits, 1) / 10
    ratio = {kind: float(_loss(hard, bits, kind=kind)["pixel"] / _loss(easy, bits, kind=kind)["pixel"])
             for kind in ("bce-dice", "focal")}  # fmt: skip
    assert ratio["focal"] > 30 * ratio["bce-dice"]


def test_plain_focal_is_cross_entropy_by_class_weight() -> None:
    bits = _bits(1)
    bits[0, 4:8, 4:8] = 1
    logits = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(2))
    p = torch.where(bits.unsqueeze(1) > 0, logits.sigmoid(), 1 - logits.sigmoid())
    weight = torch.where(bits.unsqueeze(1) > 0, 0.25, 0.75)
    expected = (-weight * (1 - p) ** 2 * p.log()).mean()  # Lin et al., equation 5
    torch.testing.assert_close(_loss(logits, bits, kind="focal")["pixel"], expected)


def test_tversky_asks_more_for_missed_than_for_false_area() -> None:
    bits = _bits(1, 32)
    bits[0, 8:16, 8:16] = 1
    small, large = _bits(1, 32), _bits(1, 32)
    small[0, 8:16, 8:12] = 1  # 32 px missed
    large[0, 8:16, 8:20] = 1  # 32 px too many
    cost = {
        (kind, name): float(_loss(_perfect(found, 1), bits, kind=kind)["dice"])
        for kind in ("bce-dice", "tversky", "focal-tversky")
        for name, found in (("missed", small), ("false", large))
    }
    assert cost["tversky", "missed"] == pytest.approx(1 - 32.5 / (32 + 0.7 * 32 + 0.5), abs=1e-4)
    assert cost["tversky", "false"] == pytest.approx(1 - 64.5 / (64 + 0.3 * 32 + 0.5), abs=1e-4)
    assert cost["tversky", "missed"] > cost["bce-dice", "missed"]
    assert cost["tversky", "false"] < cost["bce-dice", "false"]
    assert cost["focal-tversky", "missed"] == pytest.approx(cost["tversky", "missed"] ** 0.75, abs=1e-4)


def test_distance_is_euclidean_up_to_its_reach() -> None:
    masks = np.random.default_rng(0).random((4, 40, 50)) < np.array([0.001, 0.01, 0.2, 0.9])[:, None, None]
    masks[3] = True
    masks[3, 20, 20] = False
    found = signed_distance(torch.from_numpy(masks)).numpy()
    for mask, each in zip(masks, found, strict=True):
        outside, inside = distance_transform_edt(~mask), distance_transform_edt(mask)
        expected = np.where(mask, 1 - np.minimum(inside, REACH_PX), np.minimum(outside, REACH_PX))
        np.testing.assert_allclose(each, expected, rtol=1e-6)


def test_boundary_costs_more_the_further_away_a_false_area_is() -> None:
    bits = _bits(1, 64)
    bits[0, 20:30, 20:30] = 1
    costs = []
    for left in (30, 36, 42):  # touching the defect, and further away
        found = bits.clone()
        found[0, 20:30, left : left + 4] = 1
        costs.append(float(_loss(_perfect(found, 1), bits, kind="boundary")["boundary"]))
    assert float(_loss(_perfect(bits, 1), bits, kind="boundary")["boundary"]) < 0
    assert costs[0] < costs[1] < costs[2]


def test_smoothed_head_is_surest_short_of_certainty() -> None:
    bits = _bits(1)
    bits[0, 0, 0] = 1
    batch = {"class_bits": bits, "mask_known": torch.tensor([True]), "defective": torch.tensor([1.0])}
    config = LossConfig(head_smoothing=0.1)
    logits = torch.linspace(-4, 4, 801)
    losses = [segmentation_loss(_perfect(bits, 1), x[None], batch, 0.5, config)["image"] for x in logits]
    assert float(logits[torch.stack(losses).argmin()].sigmoid()) == pytest.approx(0.9, abs=2e-3)


def test_agreement_is_the_squared_gap_of_head_and_strongest_spot() -> None:
    bits = _bits(1, 32)
    logits = torch.full((1, 1, 32, 32), -20.0)
    logits[0, 0, 10:15, 10:15] = 1.0
    batch = {"class_bits": bits, "mask_known": torch.tensor([True]), "defective": torch.tensor([0.0])}
    head = torch.tensor([-1.0])
    parts = segmentation_loss(logits, head, batch, 0.5, LossConfig(agreement=2.0))
    gap = torch.tensor(1.0).sigmoid() - torch.tensor(-1.0).sigmoid()
    torch.testing.assert_close(parts["agreement"], gap**2)
    plain = segmentation_loss(logits, head, batch, 0.5)
    torch.testing.assert_close(parts["total"], plain["total"] + 2 * parts["agreement"])
    assert "agreement" not in plain
    assert image_probability(logits, head) == pytest.approx(0.5, abs=1e-3)


def test_default_is_cross_entropy_and_dice_by_class_and_of_any_defect() -> None:
    bits = _bits(2)
    bits[0, 2:9, 2:9], bits[0, 6:12, 6:12] = 1, 3
    logits = 3 * torch.randn(2, 2, 16, 16, generator=torch.Generator().manual_seed(3))
    target, p = class_targets(bits, 2), logits.sigmoid()

    def dice_loss(p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)

    of_class = (dice_loss(p[0, 0], target[0, 0]) + dice_loss(p[0, 1], target[0, 1])) / 2
    of_any = dice_loss(1 - (1 - p[0]).prod(dim=0), target[0].amax(dim=0))
    parts = _loss(logits, bits)
    torch.testing.assert_close(parts["dice"], (of_class + of_any) / 2)
    torch.testing.assert_close(parts["pixel"], F.binary_cross_entropy_with_logits(logits, target))
    torch.testing.assert_close(parts["total"], parts["pixel"] + parts["dice"] + 0.5 * parts["image"])

"""The loss: what is unlabelled teaches no pixel, and thin defects count as much as large ones."""

import torch

from training.losses import segmentation_loss


def _loss(mask_logits: torch.Tensor, label_map: torch.Tensor, known: bool = True) -> dict[str, torch.Tensor]:
    n = len(label_map)
    return segmentation_loss(
        mask_logits,
        torch.zeros(n),
        label_map,
        torch.full((n,), known),
        (label_map.amax((1, 2)) > 0).float(),
        image_weight=0.5,
    )


def _perfect(label_map: torch.Tensor, classes: int) -> torch.Tensor:
    target = torch.stack([label_map == k for k in range(1, classes + 1)], dim=1)
    return torch.where(target, 20.0, -20.0)


def test_right_answer_costs_nothing_but_the_head() -> None:
    label_map = torch.zeros(2, 16, 16, dtype=torch.uint8)
    label_map[0, 4:8, 4:8] = 2
    parts = _loss(_perfect(label_map, 3), label_map)
    assert parts["pixel"] < 1e-6
    assert parts["dice"] < 1e-3
    torch.testing.assert_close(parts["total"], 0.5 * parts["image"], rtol=1e-3, atol=1e-3)


def test_unlabelled_pictures_train_the_head_only() -> None:
    label_map = torch.zeros(2, 16, 16, dtype=torch.uint8)
    logits = torch.zeros(2, 3, 16, 16, requires_grad=True)
    parts = _loss(logits, label_map, known=False)
    assert parts["pixel"] == 0
    assert parts["dice"] == 0
    assert parts["image"] > 0


def test_a_missed_thin_crack_costs_as_much_as_a_missed_region() -> None:
    thin, wide = (torch.zeros(1, 64, 64, dtype=torch.uint8) for _ in range(2))
    thin[0, 30, 10:50] = 1
    wide[0, 10:50, 10:50] = 1
    missed = torch.full((1, 1, 64, 64), -20.0)
    both = _loss(missed.expand(2, -1, -1, -1), torch.cat([thin, wide]))["dice"]
    assert both > 0.95
    half = _loss(torch.cat([missed, _perfect(wide, 1)]), torch.cat([thin, wide]))["dice"]
    assert abs(half - both / 2) < 0.02


def test_false_area_of_another_class_costs_but_does_not_drown_a_small_defect() -> None:
    label_map = torch.zeros(1, 64, 64, dtype=torch.uint8)
    label_map[0, 30:34, 30:34] = 1
    right = _perfect(label_map, 2)
    elsewhere = right.clone()
    elsewhere[:, 1] = 20.0  # the other class everywhere
    missed = torch.full_like(right, -20.0)
    costs = {
        name: float(_loss(each, label_map)["dice"])
        for name, each in (("right", right), ("elsewhere", elsewhere), ("missed", missed))
    }
    assert costs["right"] < 0.01 < costs["elsewhere"] < 0.51
    assert costs["missed"] > 0.9

"""The loss: pixel cross-entropy, Dice per class and picture, and cross-entropy of the image-level head."""

import torch
import torch.nn.functional as F


def segmentation_loss(
    mask_logits: torch.Tensor,
    image_logits: torch.Tensor,
    label_map: torch.Tensor,
    mask_known: torch.Tensor,
    defective: torch.Tensor,
    image_weight: float,
) -> dict[str, torch.Tensor]:
    """Return the parts and the `total`, each a scalar.

    mask_logits float [n, classes, h, w], image_logits float [n], label_map uint8 [n, h, w], mask_known
    bool [n], defective float [n]. Pictures without a known mask train the head only. Dice is the mean of
    two, each taken for each defective picture: of every class that it shows, so that no large region drowns
    thin cracks and small pits, and of any defect, so that no class spreads where it is not.
    """
    mask_logits, image_logits = mask_logits.float(), image_logits.float()
    numbers = torch.arange(1, mask_logits.shape[1] + 1, device=label_map.device, dtype=label_map.dtype)
    target = (label_map.unsqueeze(1) == numbers.view(1, -1, 1, 1)).float()
    known = mask_known.float()
    pixel = F.binary_cross_entropy_with_logits(mask_logits, target, reduction="none").mean(dim=(1, 2, 3))
    present = (target.amax(dim=(2, 3)) > 0) * known.unsqueeze(1)
    probability = mask_logits.sigmoid()
    of_class = _mean_dice_loss(probability, target, present)
    any_probability = 1 - (1 - probability).prod(dim=1, keepdim=True)
    any_target, any_present = target.amax(dim=1, keepdim=True), present.amax(dim=1, keepdim=True)
    of_any = _mean_dice_loss(any_probability, any_target, any_present)
    parts = {
        "pixel": (pixel * known).sum() / known.sum().clamp(min=1),
        "dice": (of_class + of_any) / 2,
        "image": F.binary_cross_entropy_with_logits(image_logits, defective),
    }
    return parts | {"total": parts["pixel"] + parts["dice"] + image_weight * parts["image"]}


def _mean_dice_loss(probability: torch.Tensor, target: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """1 - soft Dice of float [n, k, h, w], averaged over those of [n, k] that count."""
    overlap = 2 * (probability * target).sum(dim=(2, 3))
    area = probability.sum(dim=(2, 3)) + target.sum(dim=(2, 3))
    dice = (overlap + 1) / (area + 1)
    return ((1 - dice) * counts).sum() / counts.sum().clamp(min=1)

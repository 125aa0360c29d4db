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
    bool [n], defective float [n]. Pictures without a known mask train the head only. Dice is taken for each
    class in each defective picture: over a whole batch, or over all classes of a picture together, a large
    region drowns thin cracks and small pits.
    """
    mask_logits, image_logits = mask_logits.float(), image_logits.float()
    numbers = torch.arange(1, mask_logits.shape[1] + 1, device=label_map.device, dtype=label_map.dtype)
    target = (label_map.unsqueeze(1) == numbers.view(1, -1, 1, 1)).float()
    known = mask_known.float()
    pixel = F.binary_cross_entropy_with_logits(mask_logits, target, reduction="none").mean(dim=(1, 2, 3))
    present = (target.amax(dim=(2, 3)) > 0) * known.unsqueeze(1)
    probability = mask_logits.sigmoid()
    overlap = 2 * (probability * target).sum(dim=(2, 3))
    total_area = probability.sum(dim=(2, 3)) + target.sum(dim=(2, 3))
    dice = 1 - (overlap + 1) / (total_area + 1)
    parts = {
        "pixel": (pixel * known).sum() / known.sum().clamp(min=1),
        "dice": (dice * present).sum() / present.sum().clamp(min=1),
        "image": F.binary_cross_entropy_with_logits(image_logits, defective),
    }
    return parts | {"total": parts["pixel"] + parts["dice"] + image_weight * parts["image"]}

"""The loss: a pixel loss, a region loss, and a loss of the image-level head.

Every kind (`LossConfig.kind`) is the default, bce-dice, with one change: `focal` changes the pixel loss,
`tversky` and `focal-tversky` the region loss, and `boundary` adds a boundary loss.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F

from training.config import LossConfig
from training.data.sample import IGNORED
from training.model.segmenter import image_probability

REACH_PX = 16  # boundary loss: largest distance; pixels further away count the same


def segmentation_loss(
    mask_logits: torch.Tensor,
    image_logits: torch.Tensor,
    batch: Mapping[str, torch.Tensor],
    image_weight: float,
    config: LossConfig | None = None,
) -> dict[str, torch.Tensor]:
    """Return the parts and the `total`, each a float32 scalar.

    mask_logits float [n, classes, h, w] and image_logits float [n] of any precision. The batch holds
    class_bits int32 [n, h, w] (bit k - 1 is class k), mask_known bool [n] and defective float [n]. Images
    without a known mask train the head only. Ignored pixels count in no part. An image with ignored pixels
    and no other defect does not train the head, because its defect may be in the ignored pixels. The region
    loss is the mean of two, computed on defective images: by class, for each class that an image shows, so
    that large regions do not outweigh thin cracks and small pits; and for any defect, so that no class
    spreads to images that do not show it.
    """
    config = config or LossConfig()
    mask_logits, image_logits = mask_logits.float(), image_logits.float()
    target = class_targets(batch["class_bits"], mask_logits.shape[1])
    known, counted = batch["mask_known"].float(), counted_pixels(batch["class_bits"])
    target = target * counted
    present = (target.amax(dim=(2, 3)) > 0) * known.unsqueeze(1)
    pixel = _mean_over(_pixel_loss(mask_logits, target, config), counted, dim=(1, 2, 3))
    known_label = torch.maximum(batch["defective"], counted.amin(dim=(1, 2, 3)))
    labels = batch["defective"].lerp(torch.full_like(known, 0.5), 2 * config.head_smoothing)
    image = F.binary_cross_entropy_with_logits(image_logits, labels, weight=known_label)
    parts = {
        "pixel": (pixel * known).sum() / known.sum().clamp(min=1),
        "dice": _region_loss(mask_logits, target, counted, present, config),
        "image": image / known_label.mean().clamp(min=1e-6),
    }
    total = parts["pixel"] + parts["dice"] + image_weight * parts["image"]
    if config.kind == "boundary":
        parts["boundary"] = _boundary_loss(mask_logits.sigmoid() * counted, target, present)
        total = total + config.boundary_weight * parts["boundary"]
    if config.agreement:
        # twice the distance to the mean of head and strongest spot is the distance between the two
        seen = mask_logits.masked_fill(counted == 0, mask_logits.min().detach())
        gap = 2 * (image_logits.sigmoid() - image_probability(seen, image_logits))
        parts["agreement"] = (gap.square() * known).sum() / known.sum().clamp(min=1)
        total = total + config.agreement * parts["agreement"]
    return parts | {"total": total}


def class_targets(class_bits: torch.Tensor, classes: int) -> torch.Tensor:
    """Unpack class bits, int32 [n, h, w], to float [n, classes, h, w]."""
    shifts = torch.arange(classes, device=class_bits.device, dtype=class_bits.dtype)
    return ((class_bits.unsqueeze(1) >> shifts.view(1, -1, 1, 1)) & 1).float()


def counted_pixels(class_bits: torch.Tensor) -> torch.Tensor:
    """Return float [n, 1, h, w] from class bits int32 [n, h, w]: 0 at ignored pixels, 1 elsewhere."""
    return ((class_bits & int(IGNORED)) == 0).float().unsqueeze(1)


def _mean_over(loss: torch.Tensor, counted: torch.Tensor, dim: tuple[int, ...]) -> torch.Tensor:
    """The mean over counted pixels; 0 without any; bit-identical to the plain mean if all are counted."""
    return (loss * counted).mean(dim) / counted.mean(dim).clamp(min=1e-6)


def softplus(logits: torch.Tensor) -> torch.Tensor:
    """log(1 + exp(x)), float32; on a CPU six times as fast as torch's, whose log1p is not vectorised.

    The error is at most 1e-7, which does not matter for a loss; the gradient is exact.
    """
    return logits.clamp(min=0) + (1 + (-logits.abs()).exp()).log()


def _pixel_loss(logits: torch.Tensor, target: torch.Tensor, config: LossConfig) -> torch.Tensor:
    """Cross-entropy or focal loss, float [n, k, h, w]. Source: Lin et al., Focal Loss, 2017."""
    loss = softplus(logits) - logits * target  # binary cross-entropy with logits
    if config.kind == "focal":
        missed = (logits * (1 - 2 * target)).sigmoid()  # the probability given to the wrong answer
        balance = 1 - config.focal_alpha + (2 * config.focal_alpha - 1) * target
        loss = balance * missed**config.focal_gamma * loss
    return loss


def _region_loss(
    logits: torch.Tensor,
    target: torch.Tensor,
    counted: torch.Tensor,
    present: torch.Tensor,
    config: LossConfig,
) -> torch.Tensor:
    """The mean of the loss by class and the any-defect loss, a scalar."""
    # 1 - the product of 1 - p over the classes, as a sum of logarithms: the gradient of a product waits for
    # the GPU.
    any_probability = (1 - (-softplus(logits).sum(dim=1, keepdim=True)).exp()) * counted
    any_target, any_present = target.amax(dim=1, keepdim=True), present.amax(dim=1, keepdim=True)
    of_class = _mean_tversky_loss(logits.sigmoid() * counted, target, present, config)
    return (of_class + _mean_tversky_loss(any_probability, any_target, any_present, config)) / 2


def _mean_tversky_loss(
    probability: torch.Tensor, target: torch.Tensor, counts: torch.Tensor, config: LossConfig
) -> torch.Tensor:
    """1 - soft Tversky index of float [n, k, h, w], averaged over those of [n, k] that count.

    With both weights 0.5, the default, the index is Dice. Sources: Salehi et al., Tversky loss, 2017; Abraham
    and Khan, Focal Tversky loss, 2019, with the exponent 1 / gamma.
    """
    false, missed, exponent = 0.5, 0.5, 1.0
    if config.kind in ("tversky", "focal-tversky"):
        false, missed = config.tversky_alpha, config.tversky_beta
    if config.kind == "focal-tversky":
        exponent = 1 / config.tversky_gamma
    hit = (probability * target).sum(dim=(2, 3))
    found, true = probability.sum(dim=(2, 3)), target.sum(dim=(2, 3))
    loss = 1 - (hit + 0.5) / (hit + false * (found - hit) + missed * (true - hit) + 0.5)
    if exponent != 1:
        loss = loss.clamp(min=1e-6) ** exponent  # at 0, the gradient would be infinite
    return (loss * counts).sum() / counts.sum().clamp(min=1)


def _boundary_loss(probability: torch.Tensor, target: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Mean probability times signed distance to the target's edge, over the classes that an image shows.

    Distances are in units of REACH_PX, so the loss is in -1 .. 1. Source: Kervadec et al., Boundary loss,
    2019.
    """
    shown = present > 0
    distance = signed_distance(target[shown] > 0)
    return (probability[shown] * distance).sum() / REACH_PX / max(1, distance.numel())


@torch.no_grad()
def signed_distance(mask: torch.Tensor) -> torch.Tensor:
    """Euclidean distance in px to the nearest pixel of the mask, at most REACH_PX; bool to float [n, h, w].

    Inside the mask, it is 0 at the edge and negative further in. It is exact, and computed by two passes of
    minima, each along one axis, which are fast on a GPU.
    """
    outside, inside = (_distance(each) for each in (mask, ~mask))
    return torch.where(mask, 1 - inside, outside)


def _distance(mask: torch.Tensor) -> torch.Tensor:
    far = math.inf
    squared = torch.where(mask, 0.0, far)
    for axis, pad in ((1, (0, 0, REACH_PX, REACH_PX)), (2, (REACH_PX, REACH_PX))):
        padded, size = F.pad(squared, pad, value=far), mask.shape[axis]
        for step in range(1, REACH_PX + 1):
            for start in (REACH_PX - step, REACH_PX + step):
                squared = torch.minimum(squared, padded.narrow(axis, start, size) + step**2)
    return squared.sqrt().clamp(max=REACH_PX)

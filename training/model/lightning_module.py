"""The Lightning module of a fit: loss, validation over whole images, optimiser and schedule."""

from collections import defaultdict
from typing import Any

import lightning as L
import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from app.inspection.mask_metrics import dice
from training.config import FitConfig
from training.data.datamodule import Batch
from training.model.losses import class_targets, counted_pixels, segmentation_loss
from training.model.segmenter import Segmenter, image_probability
from training.model.strategies import TrainingPlan


class FitError(RuntimeError):
    """A fit that cannot continue; the message says what to change."""


class FineTuning(L.LightningModule):
    """Trains a segmenter; validates Dice per defective image and AUROC over whole images."""

    def __init__(self, segmenter: Segmenter, settings: FitConfig) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.settings = settings
        self.training_plan = TrainingPlan(segmenter, settings)
        self._seen: list[tuple[int, float, bool, bool, Any, Any]] = []
        self._broken: torch.Tensor | bool = False  # whether a loss was not finite; read once per epoch

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Freeze the layers that the strategy does not train at this step."""
        self.training_plan.freeze(self.segmenter, self.global_step)

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        """Return the loss of one batch."""
        mask_logits, image_logits = self.segmenter(batch["pixels"])
        parts = segmentation_loss(
            mask_logits, image_logits, batch, self.settings.image_loss_weight, self.settings.loss
        )
        self.log_dict({f"train/{name}": value.detach() for name, value in parts.items()})
        self._broken = self._broken | ~parts["total"].detach().isfinite()
        return parts["total"]

    def on_validation_epoch_start(self) -> None:
        """Stop a fit with a loss that is not finite, before its checkpoint is kept."""
        self._refuse_broken()

    def on_train_epoch_end(self) -> None:
        """Do the same if there is no validation."""
        self._refuse_broken()

    def _refuse_broken(self) -> None:
        if bool(self._broken):
            raise FitError(
                f"the loss was not a finite number at step {self.global_step}: lower fit.learning_rate "
                f"({self.settings.learning_rate:g}) or set precision: 32-true"
            )

    def validation_step(self, batch: Batch, _: int) -> None:
        """Store the tiles' results; the tiles of an image may be in several batches."""
        mask_logits, image_logits = self.segmenter(batch["pixels"])
        counted = counted_pixels(batch["class_bits"]).squeeze(1) > 0
        predicted = ((mask_logits > 0).any(dim=1) & counted).cpu().numpy()
        marked = class_targets(batch["class_bits"], mask_logits.shape[1]).any(dim=1)
        reference = (marked & counted).cpu().numpy()
        scores = image_probability(mask_logits.float(), image_logits.float()).cpu().tolist()
        for row, number in enumerate(batch["picture"].tolist()):
            defective, known = bool(batch["defective"][row]), bool(batch["mask_known"][row])
            self._seen.append((number, scores[row], defective, known, predicted[row], reference[row]))

    def on_validation_epoch_end(self) -> None:
        """Log Dice per defective image, image-level AUROC, and their mean, which chooses the checkpoint."""
        images = defaultdict(list)
        for tile in self._seen:
            images[tile[0]].append(tile)
        self._seen.clear()
        defective = [tiles[0][2] for tiles in images.values()]
        scores = [max(tile[1] for tile in tiles) for tiles in images.values()]
        self._broken = self._broken | (not np.isfinite(scores).all())
        self._refuse_broken()
        overlaps = [
            dice(np.stack([tile[4] for tile in tiles]), np.stack([tile[5] for tile in tiles]))
            for tiles in images.values()
            if tiles[0][2] and tiles[0][3]
        ]
        mean_dice = float(np.mean(overlaps)) if overlaps else 0.0
        auroc = float(roc_auc_score(defective, scores)) if len(set(defective)) == 2 else 0.5
        self.log_dict(
            {
                "validation/dice": mean_dice,
                "validation/auroc": auroc,
                "validation/score": (mean_dice + auroc) / 2,
            },
            sync_dist=self.trainer.world_size > 1,
        )
        if self.trainer.is_global_zero:
            print(f"step {self.global_step}: validation Dice {mean_dice:.3f}, AUROC {auroc:.3f}", flush=True)

    def configure_optimizers(self) -> Any:
        """AdamW on the layers that the strategy trains, with a one-cycle learning rate."""
        groups = self.training_plan.parameter_groups(self.segmenter)
        # OneCycleLR divides by zero if the warm-up has exactly one step, or all steps.
        warmup = min(max(self.settings.warmup_share, 1.5 / self.settings.steps), 0.99)
        optimizer = torch.optim.AdamW(groups, weight_decay=self.settings.weight_decay, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            [group["lr"] for group in groups],
            self.settings.steps,
            pct_start=warmup,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

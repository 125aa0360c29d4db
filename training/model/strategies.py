"""Transfer strategies: which layers of the segmenter a fit trains, from which step, at which learning rate.

Levels are the encoder's stages between the feature maps that the decoder takes, shallowest first. Sources:
gradual unfreezing and learning rates by depth, Howard and Ruder, arXiv 1801.06146; a factor per level, Clark
et al., arXiv 2003.10555.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from training.config import ConfigError, FitConfig, ModelConfig, StrategyName
from training.model.segmenter import Segmenter

PROBE_PX = 64  # side; enough for five halvings


@dataclass(frozen=True)
class Strategy:
    """A strategy: its summary, whether it uses pretrained weights, and whether it trains a mask."""

    summary: str
    pretrained: bool = True
    segments: bool = True


STRATEGIES: dict[StrategyName, Strategy] = {
    "full": Strategy("all layers trained at one rate"),
    "decoder": Strategy("encoder and its batch-norm statistics frozen, decoder and heads trained"),
    "gradual": Strategy("encoder unfrozen level by level, the deepest first"),
    "layerwise": Strategy("all layers trained, each encoder level slower than the next deeper"),
    "scratch": Strategy("all layers trained at one rate from random weights", pretrained=False),
    "svm": Strategy("frozen encoder features and a support vector machine: no mask", segments=False),
}


def starting_model(model: ModelConfig, strategy: StrategyName) -> ModelConfig:
    """Return the model configuration to start with: `weights: none` if the strategy uses none."""
    return model if STRATEGIES[strategy].pretrained else model.model_copy(update={"weights": "none"})


def encoder_levels(encoder: nn.Module) -> list[list[str]]:
    """Return the parameter names of each encoder level; a parameter that no feature map uses is in none.

    A parameter belongs to the first feature map that depends on it. Automatic differentiation on the meta
    device finds it, without computation and for any encoder.
    """
    left = {name: each.detach().to("meta").requires_grad_() for name, each in encoder.named_parameters()}
    state = left | {name: each.to("meta") for name, each in encoder.named_buffers()}
    probe = torch.zeros(2, 1, PROBE_PX, PROBE_PX, device="meta")
    levels: list[list[str]] = []
    with torch.enable_grad():
        for feature in functional_call(encoder, state, (probe,)):
            if not feature.requires_grad or not left:
                continue
            gradients: tuple[torch.Tensor | None, ...] = torch.autograd.grad(
                feature.sum(), list(left.values()), retain_graph=True, allow_unused=True
            )
            reached = [name for name, found in zip(left, gradients, strict=True) if found is not None]
            levels += [reached] if reached else []
            left = {name: each for name, each in left.items() if name not in reached}
    return levels


def frozen_levels(settings: FitConfig, levels: int, step: int) -> int:
    """Return how many encoder levels, counted from the shallowest, are frozen at that step.

    It depends only on the step, so a resumed fit continues like an uninterrupted one.
    """
    if settings.strategy == "decoder":
        return levels
    if settings.strategy != "gradual":
        return 0
    return max(0, levels - int(levels * step / (settings.unfreeze_share * settings.steps)))


class TrainingPlan:
    """The trained layers and learning rates of a fit; raises ConfigError for a strategy without a mask."""

    def __init__(self, segmenter: Segmenter, settings: FitConfig) -> None:
        if not STRATEGIES[settings.strategy].segments:
            raise ConfigError(
                f"strategy {settings.strategy} trains no mask, so it gives no bundle; "
                "use it for comparisons only"
            )
        self._settings = settings
        encoder = segmenter.unet.encoder
        self._level_of = {
            name: number for number, level in enumerate(encoder_levels(encoder)) for name in level
        }
        self._levels = len(set(self._level_of.values()))
        # Distributed training would wait for the gradient of a parameter that never gets one.
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad_(name in self._level_of and settings.strategy != "decoder")

    @property
    def changes(self) -> bool:
        """Whether layers are unfrozen during the fit; distributed training must then look for unused ones."""
        return self._settings.strategy == "gradual"

    def parameter_groups(self, segmenter: Segmenter) -> list[dict[str, Any]]:
        """Return AdamW's groups with their peak learning rate `lr`: one, or one per level for `layerwise`."""
        settings = self._settings
        decay = settings.layer_decay if settings.strategy == "layerwise" else 1.0
        members: dict[float, list[nn.Parameter]] = {}
        for name, parameter in segmenter.named_parameters():
            depth = self._level_of.get(name.removeprefix("unet.encoder."), self._levels)
            if parameter.requires_grad:
                rate = settings.learning_rate * decay ** (self._levels - depth)
                members.setdefault(rate, []).append(parameter)
        return [{"params": parameters, "lr": rate} for rate, parameters in members.items()]

    def freeze(self, segmenter: Segmenter, step: int) -> None:
        """Freeze and unfreeze the encoder's levels for that step.

        Call it before every batch, in training mode. A frozen level updates neither weights nor batch-norm
        statistics.
        """
        frozen = frozen_levels(self._settings, self._levels, step)
        if not frozen and not self.changes:
            return
        encoder = segmenter.unet.encoder
        encoder.train(frozen < self._levels)
        for prefix, module in encoder.named_modules():
            for name, parameter in module.named_parameters(prefix, recurse=False):
                trained = self._level_of.get(name, -1) >= frozen
                parameter.requires_grad_(trained)
                module.training = trained  # not `train()`, which would also set its children

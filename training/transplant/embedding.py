"""Features of whole pictures from a frozen ImageNet encoder, for light classifiers."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from training.config import ModelConfig
from training.data.sample import Pixels
from training.model.segmenter import Segmenter, build_segmenter

Features = NDArray[np.float32]
Embed = Callable[[Sequence[Pixels]], Features]  # grey pictures of any size -> one row each

_STAGES = 3  # the deepest ones; earlier answers are edges and little more
_BATCH = 32


def frozen_encoder(side: int) -> Embed:
    """Return a function that describes grey uint8 pictures, each brought to `side` x `side` px.

    A row joins mean and maximum of the deepest stages of the default encoder with ImageNet weights. Raises
    ConfigError where these are not installed.
    """
    segmenter = build_segmenter(ModelConfig(weights="imagenet"), classes=1, seed=0).eval()

    def embed(pictures: Sequence[Pixels]) -> Features:
        starts = range(0, len(pictures), _BATCH)
        return np.concatenate(
            [_pooled(segmenter, pictures[start : start + _BATCH], side) for start in starts]
        )

    return embed


@torch.inference_mode()
def _pooled(segmenter: Segmenter, pictures: Sequence[Pixels], side: int) -> Features:
    batch = np.stack([_squared(pixels, side) for pixels in pictures])
    stages = segmenter.features(torch.from_numpy(batch))[-_STAGES:]
    pooled = [part for stage in stages for part in (stage.mean(dim=(2, 3)), stage.amax(dim=(2, 3)))]
    return np.asarray(torch.cat(pooled, dim=1).numpy(), np.float32)


def _squared(pixels: Pixels, side: int) -> Pixels:
    shrinks = min(pixels.shape) > side
    resized = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)

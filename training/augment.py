"""Augmentation for surfaces; the only file that uses albumentations."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import asks the network otherwise

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


class Augmentation:
    """Cuts one training tile of `tile` x `tile` px out of a picture and varies it.

    Flips and transposes are free on a surface without a preferred direction; rotation and scale stay small
    so that thin cracks survive; brightness, contrast, gamma and noise stand for exposure and sensor.
    """

    def __init__(self, tile: int, seed: int) -> None:
        self._compose = A.Compose(
            [
                A.Affine(
                    scale=(0.9, 1.1),
                    rotate=(-10, 10),
                    shear=(-4, 4),
                    border_mode=cv2.BORDER_REFLECT_101,
                    p=0.5,
                ),
                A.PadIfNeeded(tile, tile, position="top_left", border_mode=cv2.BORDER_REFLECT_101),
                A.OneOf(
                    [A.CropNonEmptyMaskIfExists(tile, tile, p=0.75), A.RandomCrop(tile, tile, p=0.25)], p=1
                ),
                A.HorizontalFlip(p=0.5),
                A.VerticalFlip(p=0.5),
                A.Transpose(p=0.5),
                A.RandomBrightnessContrast(brightness_limit=0.25, contrast_limit=0.3, p=0.7),
                A.RandomGamma(gamma_limit=(65, 150), p=0.4),
                A.GaussNoise(std_range=(0.01, 0.05), p=0.3),
            ],
            seed=seed,
        )

    def __call__(self, pixels: Pixels, label_map: Pixels) -> tuple[Pixels, Pixels]:
        """Return the varied tile and its label map, both uint8 [tile, tile]."""
        varied = self._compose(image=pixels[..., None], mask=label_map)
        return np.asarray(varied["image"], np.uint8)[..., 0], np.asarray(varied["mask"], np.uint8)

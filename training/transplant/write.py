"""Writes transplants of a data set as files, to look at or to train on."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from training.data.sample import Bits, Dataset, DatasetError, Pixels, Sample, class_mask
from training.transplant.donors import Marked, shown_classes
from training.transplant.transplant import Transplants, TransplantSettings, transplant


def load_parts(samples: Sequence[Sample]) -> tuple[list[Pixels], list[Marked]]:
    """Decode samples into good images and marked defective ones; unmarked defective ones are left out."""
    good, defective = [], []
    for sample in samples:
        pixels = sample.pixels()
        bits = sample.class_bits((pixels.shape[0], pixels.shape[1])) if sample.defective else None
        if not sample.defective:
            good += [] if sample.ignores else [pixels]
        elif bits is not None:
            defective.append(Marked(pixels, bits, sample.group))
    return good, defective


def write_transplants(
    root: Path, train: Dataset, count: int, seed: int, settings: TransplantSettings | None = None
) -> Transplants:
    """Write up to `count` transplants into a new folder, completely or not at all; return them.

    `train` must be the training split only: a generated image shows surface and defect of two parts, and
    would leak them into any other split. The layout is a plain folder: `defect/CLASS/NAME.png` with its mask
    in `masks/CLASS/`. A defect of several classes has the class with the most pixels, and the mask shows only
    that class. Raises DatasetError if `root` exists, nothing can be made, or no candidate is plausible.
    """
    if root.exists():
        raise DatasetError(f"{root} exists already; give a new folder")
    good, defective = load_parts(train.samples)
    try:
        made = transplant(good, defective, count, seed, settings)
    except ValueError as error:
        raise DatasetError(f"no defect can be generated: {error}") from error
    if not made.images:
        raise DatasetError(f"{made.summary()}; mark more images, or raise the quantile of the filter")
    partial = root.with_name(f".{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left over from a killed run
    for number, (pixels, bits) in enumerate(made.images):
        _write(partial, f"transplant_{seed}_{number:05d}.png", pixels, bits, train.classes)
    partial.replace(root)
    return made


def _write(root: Path, name: str, pixels: Pixels, bits: Bits, classes: Sequence[str]) -> None:
    number = max(shown_classes(bits), key=lambda each: np.count_nonzero(class_mask(bits, each)))
    mask = class_mask(bits, number).astype(np.uint8) * np.uint8(255)
    for kind, values in (("defect", pixels), ("masks", mask)):
        folder = root / kind / classes[number - 1]
        folder.mkdir(parents=True, exist_ok=True)
        done, data = cv2.imencode(".png", values)
        if not done:
            raise DatasetError(f"{name} could not be encoded as PNG")
        (folder / name).write_bytes(data.tobytes())

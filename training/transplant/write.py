"""Transplants of a data set, written for people to look at and for any run to train on."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from training.data.sample import Bits, Dataset, DatasetError, Pixels, Sample, class_mask
from training.transplant.donors import Marked, shown_classes
from training.transplant.transplant import Transplants, TransplantSettings, transplant


def load_parts(samples: Sequence[Sample]) -> tuple[list[Pixels], list[Marked]]:
    """Decode samples into good pictures and marked defective ones; what has no marked pixel is left out."""
    good, defective = [], []
    for sample in samples:
        pixels = sample.pixels()
        bits = sample.class_bits((pixels.shape[0], pixels.shape[1])) if sample.defective else None
        if not sample.defective:
            good.append(pixels)
        elif bits is not None:
            defective.append(Marked(pixels, bits, sample.group))
    return good, defective


def write_transplants(
    root: Path, train: Dataset, count: int, seed: int, settings: TransplantSettings | None = None
) -> Transplants:
    """Write up to `count` transplants into a new folder, whole or not at all; return what was made.

    `train` is the training split alone: a generated picture carries surface and defect of two parts, and
    would leak them into any other split. The layout is the plain folder: `defect/CLASS/NAME.png` and, in
    `masks/CLASS/`, its mask. A defect of several classes is filed under the one with the most pixels, which
    its mask shows. Raises DatasetError where `root` exists, nothing can be made or nothing made is plausible.
    """
    if root.exists():
        raise DatasetError(f"{root} exists already; give a new folder")
    good, defective = load_parts(train.samples)
    try:
        made = transplant(good, defective, count, seed, settings)
    except ValueError as error:
        raise DatasetError(f"no defect can be generated: {error}") from error
    if not made.pictures:
        raise DatasetError(f"{made.summary()}; mark more pictures, or raise the quantile of the filter")
    partial = root.with_name(f".{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # what a killed run has left
    for number, (pixels, bits) in enumerate(made.pictures):
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

"""The result of inspecting one labelled image, compared with its label."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.inspector import Inspector
from app.inspection.mask_metrics import dice
from app.inspection.results import EstimatedDice, Seen, Verdict
from training.data.sample import Bits, Sample, class_mask, counted, defects, named


@dataclass(frozen=True)
class Overlap:
    """Numbers of pixels of one image: marked in the reference, `called` in the bundle's mask, and in both."""

    marked: int
    called: int
    common: int


@dataclass(frozen=True)
class Compared:
    """One labelled image and the bundle's answer.

    Dice is None for good images and for images whose defects are not marked. `class_dice` has the classes
    that the reference shows and the bundle knows. `dice_interval` is (low, high) around the estimated Dice.
    `overlap` is None if the defects are not marked; `class_overlap` has every class known to both.
    `brightness` is the mean grey level, and `sharpness` the variance of the Laplacian, of the whole image.
    """

    name: str
    group: str
    picture_class: str
    defective: bool
    verdict: Verdict
    image_probability: float
    dice: float | None
    class_dice: dict[str, float]
    defect_px: int
    estimated_dice: float | None = None
    dice_interval: tuple[float, float] | None = None
    source: str = ""
    height: int = 0
    width: int = 0
    brightness: float = 0.0
    sharpness: float = 0.0
    overlap: Overlap | None = None
    class_overlap: dict[str, Overlap] = field(default_factory=dict)

    @property
    def called_defective(self) -> bool:
        """Whether the verdict is not `pass`: `review` stops a part like `fail`."""
        return self.verdict != "pass"


def inspect_with_prediction(inspector: Inspector, sample: Sample, data: bytes | None = None) -> Seen:
    """Inspect a sample's bytes, or `data` instead; raises DatasetError with its name if it is refused."""
    with named(sample.name, sample.image):
        return inspector.inspect_with_prediction(sample.image.read() if data is None else data)


def compare_samples(inspector: Inspector, samples: Iterable[Sample]) -> list[Compared]:
    """Inspect samples with the bundle's classes from their file bytes, like the service.

    Raises DatasetError with the name of a sample that is refused.
    """
    compared, classes = [], inspector.bundle.class_names
    for sample in samples:
        seen = inspect_with_prediction(inspector, sample)
        compared.append(compare(sample, seen, sample.class_bits(seen.inspection.label_map.shape), classes))
    return compared


def compare(sample: Sample, seen: Seen, bits: Bits | None, classes: Sequence[str]) -> Compared:
    """Compare an inspection with its reference: class bits [H, W], None if the defects are not marked.

    `classes` names the reference's classes in the order of their numbers; they may differ from the bundle's.
    """
    inspection = seen.inspection
    grey = cv2.cvtColor(seen.pixels, cv2.COLOR_RGB2GRAY) if seen.pixels.ndim == 3 else seen.pixels
    label_map = inspection.label_map if bits is None else np.where(counted(bits), inspection.label_map, 0)
    marked = None if bits is None else defects(bits) & counted(bits)
    masks = {} if bits is None else _class_masks(inspection.classes, label_map, bits, classes)
    defect_px = 0 if marked is None else int(np.count_nonzero(marked))
    return Compared(
        name=sample.name,
        group=sample.group,
        picture_class=sample.picture_class,
        defective=sample.defective,
        verdict=inspection.verdict,
        image_probability=inspection.image_probability,
        dice=dice(label_map > 0, marked) if marked is not None and defect_px else None,
        class_dice={name: dice(*pair) for name, pair in masks.items() if pair[1].any()},
        defect_px=defect_px,
        estimated_dice=inspection.estimated_dice.any_defect,
        dice_interval=_dice_interval(inspection.estimated_dice),
        source=sample.source,
        height=grey.shape[0],
        width=grey.shape[1],
        brightness=round(float(grey.mean()), 2),
        sharpness=round(float(cv2.Laplacian(grey, cv2.CV_16S).var()), 2),
        overlap=None if marked is None else _overlap(label_map > 0, marked),
        class_overlap={name: _overlap(*pair) for name, pair in masks.items()},
    )


def _class_masks(
    called: Sequence[str], label_map: NDArray[np.uint8], bits: Bits, classes: Sequence[str]
) -> dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Found and marked pixels of each class known to both; the label map has one class per pixel."""
    numbers = {name: number for number, name in enumerate(called, start=1)}
    return {
        name: (label_map == numbers[name], class_mask(bits, number))
        for number, name in enumerate(classes, start=1)
        if name in numbers
    }


def _dice_interval(estimated: EstimatedDice) -> tuple[float, float] | None:
    if estimated.low is None or estimated.high is None:
        return None
    return estimated.low, estimated.high


def _overlap(called: NDArray[np.bool_], marked: NDArray[np.bool_]) -> Overlap:
    counts = (np.count_nonzero(each) for each in (marked, called, called & marked))
    return Overlap(*map(int, counts))

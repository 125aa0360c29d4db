"""Parity: torch compared with every artifact, for each image, from the same bytes to the verdict."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from app.inspection.bundle.bundle import Bundle
from app.inspection.cancellation import NEVER, Cancellation
from app.inspection.inference.session import Answers
from app.inspection.inference.threads import compute_on
from app.inspection.inference.tiling import plan_tiles
from app.inspection.inspector import Inspector
from app.inspection.mask_metrics import dice, label_iou
from app.inspection.results import Seen
from training.data.sample import Bits, Sample, counted, defects
from training.evaluation.compared import inspect_with_prediction
from training.evaluation.figures import mean
from training.limits import limits
from training.sessions import inspector_of
from training.statistics import Figures

TORCH = "torch"


class TorchSession:
    """The fp32 artifact of a bundle, computed by torch in batches of the service's size."""

    execution_provider = TORCH

    def __init__(self, bundle: Bundle, graph: nn.Module) -> None:
        """Set the bundle and the torch graph that its fp32 artifact was exported from."""
        self.artifact = next(each for each in bundle.artifacts if each.name == "fp32")
        self.max_batch = compute_on(gpu=False).few.max_batch
        self._graph = graph

    def run(self, tiles: NDArray[np.uint8], cancellation: Cancellation = NEVER) -> Answers:
        """Like `Session.run`."""
        batches = []
        for start in range(0, len(tiles), self.max_batch):
            cancellation.check()
            with torch.inference_mode():
                outputs = self._graph(torch.from_numpy(tiles[start : start + self.max_batch]))
            batches.append([each.numpy() for each in outputs])
        mask, image, *features = (np.concatenate(each) for each in zip(*batches, strict=True))
        none = np.zeros((len(tiles), 0), np.float32)
        answers = Answers(mask, image, none if self.artifact.gate is None else features[0])
        answers.check()
        return answers

    def trying(self, number: int) -> AbstractContextManager[None]:
        """Like `Session.trying`; torch has only one way to compute."""
        return nullcontext()


@dataclass
class Agreement:
    """Differences of one artifact from torch on the images so far."""

    level_difference: int = 0
    image_difference: float = 0.0
    ious: list[float] = field(default_factory=list)
    dice: list[float] = field(default_factory=list)
    flipped: list[str] = field(default_factory=list)
    escaped: list[str] = field(default_factory=list)
    called: list[bool] = field(default_factory=list)

    def add(self, sample: Sample, bits: Bits | None, seen: Seen, torch_seen: Seen) -> None:
        """Add one image; `bits` are the reference's class bits, None if pixels are not labelled."""
        pairs = [(each.prediction, each.inspection) for each in (seen, torch_seen)]
        (prediction, found), (torch_prediction, torch_found) = pairs
        difference = prediction.probability.astype(np.int16) - torch_prediction.probability
        self.level_difference = max(self.level_difference, int(np.abs(difference).max()))
        off = abs(prediction.head_probability - torch_prediction.head_probability)
        self.image_difference = max(self.image_difference, off)
        self.ious.append(label_iou(found.label_map, torch_found.label_map))
        if sample.defective and bits is not None:
            keep = counted(bits)
            self.dice.append(dice((found.label_map > 0) & keep, defects(bits) & keep))
        if found.verdict != torch_found.verdict:
            self.flipped.append(sample.name)
        if sample.defective and found.verdict == "pass" != torch_found.verdict:
            self.escaped.append(sample.name)
        self.called.append(found.verdict != "pass")

    def figures(self) -> Figures:
        """The figures for evaluation.json; flips are counted, because names of images are not published."""
        return {
            "max_mask_level_difference": self.level_difference,
            "max_image_probability_difference": self.image_difference,
            "mask_iou": {"mean": mean(self.ious), "min": round(min(self.ious), 4)},
            "dice_per_defective_picture": mean(self.dice),
            "verdict_flips": len(self.flipped),
            "new_escapes": len(self.escaped),
        }


@dataclass(frozen=True)
class Parity:
    """The agreement of each artifact with torch, and the number of images and tiles."""

    agreements: dict[str, Agreement]
    torch_dice: float | None
    pictures: int
    tiles: int

    def figures(self) -> Figures:
        """The figures for evaluation.json."""
        return {
            "reference": TORCH,
            "pictures": self.pictures,
            "tiles": self.tiles,
            "dice_per_defective_picture": self.torch_dice,
            "artifacts": {name: each.figures() for name, each in self.agreements.items()},
        }


def parity(bundle: Bundle, graph: nn.Module, samples: Sequence[Sample]) -> Parity:
    """Inspect samples with torch and with every artifact of the bundle, each at its own operating point.

    Torch uses that of fp32. All run on the CPU, which computes fp16 graphs in single precision. Raises
    DatasetError with the name of a sample that is refused.
    """
    reference = Inspector(bundle, TorchSession(bundle, graph), limits())
    looking: dict[str, Inspector] = {each.name: inspector_of(bundle, each) for each in bundle.artifacts}
    agreements = {name: Agreement() for name in looking}
    with_torch = Agreement()
    tiles = 0
    for sample in samples:
        data = sample.image.read()
        torch_seen = inspect_with_prediction(reference, sample, data)
        bits = sample.class_bits(torch_seen.inspection.label_map.shape)
        with_torch.add(sample, bits, torch_seen, torch_seen)
        height, width = torch_seen.pixels.shape[:2]
        tiles += len(plan_tiles(height, width, bundle.input).places)
        for name, inspector in looking.items():
            agreements[name].add(sample, bits, inspect_with_prediction(inspector, sample, data), torch_seen)
    return Parity(agreements, mean(with_torch.dice), len(samples), tiles)

"""The inspector composes the steps; it is the only file that knows their order."""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.inspection.bundle import Bundle, GoldenSample
from app.inspection.decode import DecodeLimits, decode, decode_reference_mask
from app.inspection.errors import PasslineError, SelfTestFailed
from app.inspection.mask import to_label_map
from app.inspection.mask_metrics import dice, label_iou, soft_dice_confidence
from app.inspection.measure import measure
from app.inspection.preprocess import cut, plan_tiles, stitch
from app.inspection.recipe import Recipe, check_classes
from app.inspection.results import (
    Defect,
    EstimatedDice,
    ImageInfo,
    Inspection,
    MeasuredDice,
    Prediction,
    Reason,
    Verdict,
)
from app.inspection.session import Device, Session
from app.inspection.verdict import head_reason, judge


class Timings:
    """Milliseconds spent per step of one inspection."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a step."""
        start = time.perf_counter()
        yield
        self.ms[name] = self.ms.get(name, 0.0) + (time.perf_counter() - start) * 1000


class Inspector:
    """Inspects pictures with one bundle; holds nothing about a request, so threads may share it."""

    def __init__(self, bundle: Bundle, session: Session, limits: DecodeLimits | None = None) -> None:
        """Use a bundle with its session; the bundle's shortest side applies on top of `limits`."""
        limits = limits or DecodeLimits()
        self.bundle = bundle
        self.session = session
        self.limits = replace(limits, min_side_px=max(limits.min_side_px, bundle.input.min_side_px))
        self._mask_table = bundle.calibration.mask_table()

    @classmethod
    def load(
        cls,
        bundle_dir: Path,
        device: Device = "auto",
        threads: int | None = None,
        limits: DecodeLimits | None = None,
    ) -> "Inspector":
        """Load a bundle onto a device; raises BundleError or DeviceUnavailable. `self_test` it before use."""
        bundle = Bundle.load(bundle_dir)
        return cls(bundle, Session(bundle, device, threads), limits)

    def inspect(
        self,
        data: bytes,
        recipe: Recipe | None = None,
        reference_mask: bytes | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> Inspection:
        """Inspect one uploaded picture by a recipe (default: the bundle's).

        With a reference mask of the picture's size Dice is measured too. `check` is called now and then and
        ends the inspection with what it raises. Raises a PasslineError.
        """
        recipe = recipe or self.bundle.default_recipe
        check_classes(recipe, self.bundle.class_names)
        timings = Timings()
        with timings.step("decode"):
            image = decode(
                data, self.limits, lambda height, width: plan_tiles(height, width, self.bundle.input)
            )
            reference = None if reference_mask is None else self._reference(reference_mask, image)
        prediction = self.predict(image, timings, check)
        with timings.step("mask"):
            label_map = self.label_map(prediction)
            estimated = self._estimated_dice(prediction, label_map)
            measured = None if reference is None else self._measured_dice(label_map, *reference)
        defects, verdict, reasons = self.decide(label_map, prediction, recipe, timings)
        return Inspection(
            verdict=verdict,
            reasons=reasons,
            defects=defects,
            label_map=label_map,
            classes=self.bundle.class_names,
            image_probability=prediction.image_probability,
            image_threshold=self.image_threshold,
            measured_dice=measured,
            estimated_dice=estimated,
            image=ImageInfo(image.shape[1], image.shape[0], hashlib.sha256(data).hexdigest()),
            timings_ms=timings.ms,
            recipe=recipe.name,
        )

    def predict(
        self,
        image: NDArray[np.uint8],
        timings: Timings | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> Prediction:
        """What the model says of uint8 pixels [H, W] or [H, W, 3], before any threshold."""
        timings = timings or Timings()
        with timings.step("preprocess"):
            tiles, plan = cut(image, self.bundle.input)
        with timings.step("inference"):
            probabilities, heads = self.session.run(tiles, check)
        with timings.step("mask"):
            return Prediction(stitch(probabilities, plan), float(heads.max()))

    def label_map(self, prediction: Prediction) -> NDArray[np.uint8]:
        """The label map, uint8 [H, W], at the active artifact's operating point."""
        point = self.session.artifact.operating_point
        return to_label_map(prediction.probability, prediction.image_probability, point)

    def decide(
        self,
        label_map: NDArray[np.uint8],
        prediction: Prediction,
        recipe: Recipe,
        timings: Timings | None = None,
    ) -> tuple[tuple[Defect, ...], Verdict, tuple[Reason, ...]]:
        """Measure and judge a label map; the probabilities only give scores and the review."""
        timings = timings or Timings()
        with timings.step("measure"):
            names = self.bundle.class_names
            defects = measure(label_map, prediction.probability, names, recipe.pixel_pitch_mm)
        with timings.step("verdict"):
            head = head_reason(prediction.image_probability, self.image_threshold)
            return defects, *judge(defects, recipe, head)

    @property
    def image_threshold(self) -> float:
        """The image probability's threshold in force: the active artifact's."""
        return self.session.artifact.operating_point.image_threshold

    def self_test(self) -> None:
        """Inspect the golden samples on the active provider; raises SelfTestFailed naming what differs.

        It also warms the session up, so that the first picture is not the slow one.
        """
        if not self.bundle.golden:
            raise SelfTestFailed("the bundle has no golden samples, so that nothing shows it works here")
        wrong = [what for sample in self.bundle.golden for what in self._differences(sample)]
        if wrong:
            where = f"{self.session.artifact.name} on {self.session.execution_provider}"
            raise SelfTestFailed(f"golden samples are not reproduced by {where}: {'; '.join(wrong)}")

    def _differences(self, sample: GoldenSample) -> Iterator[str]:
        tolerance = self.bundle.golden_tolerance
        expected_mask = self.bundle.read(sample.mask)
        try:
            found = self.inspect(self.bundle.read(sample.image))
            expected, _ = decode_reference_mask(
                expected_mask, found.label_map.shape, len(self.bundle.classes)
            )
        except PasslineError as error:
            yield f"{sample.image}: {error}"
            return
        if found.verdict != sample.verdict:
            yield f"{sample.image}: verdict {found.verdict}, not {sample.verdict}"
        overlap = label_iou(found.label_map, expected)
        if overlap < tolerance.min_mask_iou:
            yield f"{sample.image}: mask IoU {overlap:.3f}, below {tolerance.min_mask_iou}"
        difference = abs(found.image_probability - sample.image_probability)
        if difference > tolerance.max_image_probability_difference:
            yield f"{sample.image}: image_probability off by {difference:.3f}"

    def _reference(self, data: bytes, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], bool]:
        return decode_reference_mask(data, (image.shape[0], image.shape[1]), len(self.bundle.classes))

    def _measured_dice(
        self, label_map: NDArray[np.uint8], reference: NDArray[np.uint8], has_classes: bool
    ) -> MeasuredDice:
        names = enumerate(self.bundle.class_names, start=1)
        per_class = {name: dice(label_map == k, reference == k) for k, name in names} if has_classes else None
        return MeasuredDice(dice(label_map > 0, reference > 0), per_class)

    def _estimated_dice(self, prediction: Prediction, label_map: NDArray[np.uint8]) -> EstimatedDice:
        if not label_map.any():
            return EstimatedDice(None, "empty_mask")
        any_defect = self._mask_table[prediction.probability.max(axis=0)]
        return EstimatedDice(soft_dice_confidence(any_defect, label_map > 0), None)

"""The inspector runs the inspection steps; only this file defines their order."""

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.inspection.bundle.artifact import OperatingPoint
from app.inspection.bundle.bundle import Bundle
from app.inspection.bundle.golden import GoldenSample
from app.inspection.bundle.self_test import differences, setting_differences
from app.inspection.cancellation import NEVER, Cancellation
from app.inspection.decoding.decode import DecodeLimits, decode, decode_reference_mask, image_info
from app.inspection.decoding.raw import RawFrame
from app.inspection.errors import PasslineError, SelfTestFailed
from app.inspection.inference.blend import Blend
from app.inspection.inference.runtime import Device
from app.inspection.inference.session import OnnxSession, Session, check_batches
from app.inspection.inference.tensorrt import Engines
from app.inspection.inference.tiling import Tiles, plan_tiles
from app.inspection.input_gate import InputGate
from app.inspection.mask_metrics import estimated_dice, measured_dice
from app.inspection.measuring.defect_regions import form_regions, keep_defects
from app.inspection.measuring.findings import find, unexplained
from app.inspection.measuring.mask import MaskAccumulator
from app.inspection.measuring.part_outline import locate, part_doubts, with_part
from app.inspection.measuring.polygons import Drawings
from app.inspection.measuring.regions import scope_of
from app.inspection.planes import zero_planes
from app.inspection.preview import preview
from app.inspection.results import (
    Extra,
    ImageInfo,
    Inspection,
    Prediction,
    Seen,
    TileAnswers,
    TileProbability,
    Timings,
)
from app.inspection.rules.recipe import Recipe, check_classes
from app.inspection.rules.verdict import doubts_about, judge

Place = tuple[slice, slice]  # rows and columns
Put = Callable[[int, Place, NDArray[np.uint8]], None]  # stores class k's levels at a place
LEAST_AT_ONCE = 8  # tiles cut and blended together; more if the session runs larger batches


class Inspector:
    """Inspects images with one bundle; stores nothing about a request, so threads may share it."""

    def __init__(self, bundle: Bundle, session: Session, limits: DecodeLimits | None = None) -> None:
        """Use a bundle with its session; the larger `min_side_px` of bundle and `limits` applies."""
        limits = limits or DecodeLimits()
        self.bundle = bundle
        self.session = session
        self.limits = replace(limits, min_side_px=max(limits.min_side_px, bundle.input.min_side_px))
        artifact = session.artifact
        self._gate = None if artifact.gate is None else InputGate(bundle, artifact.gate)
        self._drawings = Drawings()
        self._mask_table = artifact.calibration.mask_table()

    @classmethod
    def load(
        cls,
        bundle_dir: Path,
        device: Device = "auto",
        threads: int | None = None,
        limits: DecodeLimits | None = None,
        engines: Engines | None = None,
    ) -> "Inspector":
        """Load a bundle; raises BundleError or DeviceUnavailable. Call `self_test` before use."""
        bundle = Bundle.load(bundle_dir)
        return cls(bundle, OnnxSession(bundle, device, threads, engines=engines), limits)

    def inspect(
        self,
        data: bytes | RawFrame,
        recipe: Recipe | None = None,
        reference_mask: bytes | None = None,
        cancellation: Cancellation = NEVER,
        *,
        keep: Collection[Extra] = (),
    ) -> Inspection:
        """Inspect one uploaded image by a recipe (default: the bundle's).

        With a reference mask of the image's size, Dice is measured too. `cancellation` ends the inspection
        with its error. `keep` adds to the result: the any-defect `probability`, one more byte for each pixel;
        a `preview`. Raises a PasslineError.
        """
        task = self._begin(data, recipe, reference_mask, cancellation)
        marks = MaskAccumulator(task.shape, task.point)
        scan = self._scan(task.image, marks.add, task.timings, cancellation)
        inspection = self._decide(task, marks, scan, cancellation)
        seen = preview(task.image) if "preview" in keep else None
        highest = inspection.probability if "probability" in keep else None
        return replace(inspection, probability=highest, preview=seen)

    def inspect_with_prediction(
        self,
        data: bytes | RawFrame,
        recipe: Recipe | None = None,
        reference_mask: bytes | None = None,
        cancellation: Cancellation = NEVER,
    ) -> Seen:
        """As `inspect`, but also return the image and the prediction: one plane for each class."""
        task = self._begin(data, recipe, reference_mask, cancellation)
        marks = MaskAccumulator(task.shape, task.point)
        planes = zero_planes(len(self.bundle.classes), *task.shape)

        def put(k: int, place: Place, levels: NDArray[np.uint8]) -> None:
            marks.add(k, place, levels)
            planes[k][place] = levels

        scan = self._scan(task.image, put, task.timings, cancellation)
        inspection = replace(self._decide(task, marks, scan, cancellation), probability=None)
        return Seen(task.image, Prediction(scan.tiles, scan.looked, planes), inspection)

    def predict(
        self,
        image: NDArray[np.uint8],
        timings: Timings | None = None,
        cancellation: Cancellation = NEVER,
    ) -> Prediction:
        """Run model and input gate on uint8 pixels [H, W] or [H, W, 3]; applies no threshold."""
        planes = zero_planes(len(self.bundle.classes), *image.shape[:2])

        def put(k: int, place: Place, levels: NDArray[np.uint8]) -> None:
            planes[k][place] = levels

        scan = self._scan(image, put, timings or Timings(), cancellation)
        return Prediction(scan.tiles, scan.looked, planes)

    def _begin(
        self,
        data: bytes | RawFrame,
        recipe: Recipe | None,
        reference_mask: bytes | None,
        cancellation: Cancellation,
    ) -> "_Task":
        recipe = recipe or self.bundle.default_recipe
        check_classes(recipe, self.bundle.class_names)
        point = self.operating_point(recipe)
        timings = Timings()
        with timings.step("decode"):
            image = decode(
                data,
                self.limits,
                lambda height, width: plan_tiles(height, width, self.bundle.input),
                recipe.significant_bits,
                cancellation,
            )
            reference, shape = None, (*image.shape[:2],)
            if reference_mask is not None:
                classes = len(self.bundle.classes)
                reference = decode_reference_mask(reference_mask, shape, classes, cancellation)
        return _Task(image_info(image, data, cancellation), image, reference, recipe, point, timings)

    def _scan(
        self, image: NDArray[np.uint8], put: Put, timings: Timings, cancellation: Cancellation
    ) -> TileAnswers:
        """Run the model over an image; pass the levels of each area to `put` as soon as they are final.

        A few tiles are processed at a time, so memory hardly grows with the image beyond what `put`
        keeps.
        """
        of_pixels = {}
        if self._gate is not None:
            with timings.step("gate"):
                of_pixels = self._gate.pixel_scores(image, cancellation.check)
        with timings.step("preprocess"):
            tiles = Tiles(image, self.bundle.input)
        plan = tiles.plan
        order = [number for line in plan.lines for number in line]
        blend, answers = Blend(plan, len(self.bundle.classes)), []
        at_once = max(LEAST_AT_ONCE, self.session.max_batch)
        for start in range(0, len(order), at_once):
            numbers = order[start : start + at_once]
            with timings.step("preprocess"):
                pixels = tiles.cut(numbers)
            with timings.step("inference"):
                found = self.session.run(pixels, cancellation)
            with timings.step("mask"):
                for part in blend.add(numbers, found.mask_probability):
                    put(part.k, part.place, part.levels)
            answers.append((found.image_probability, found.features))
        in_order = np.argsort(order)
        heads, features = (np.concatenate(each)[in_order] for each in zip(*answers, strict=True))
        looked = None
        if self._gate is not None:
            with timings.step("gate"):
                looked = self._gate.check(of_pixels, features.mean(axis=0))
        covered = zip(plan.covered(), heads.tolist(), strict=True)
        return TileAnswers(tuple(TileProbability(*place, head) for place, head in covered), looked)

    def _decide(
        self, task: "_Task", marks: MaskAccumulator, scan: TileAnswers, cancellation: Cancellation
    ) -> Inspection:
        check = cancellation.check
        recipe, point, timings, names = task.recipe, task.point, task.timings, self.bundle.class_names
        with timings.step("mask"):
            regions = form_regions(marks, task.image, scan.tiles, point, check)
            around = None if point.dice_interval is None else point.dice_interval.around
            kept, label_map = keep_defects(marks, regions, point, check), marks.label_map
            estimated = estimated_dice(marks.highest, label_map, self._mask_table, around, check)
            given = task.reference
            measured = None if given is None else measured_dice(label_map, *given, names, check)
        with timings.step("measure"):
            part = locate(task.image, recipe)
            recipe = with_part(recipe, part)
            scope = scope_of(task.shape, recipe, check, self._drawings)
            found = find(label_map, kept, names, recipe, check, scope)
        with timings.step("verdict"):
            head = unexplained(label_map, scan.tiles, scope)
            doubts = doubts_about(head, point.head_threshold, estimated.any_defect, recipe)
            outside = () if scan.looked is None else scan.looked.reasons
            outside = (*outside, *part_doubts(part, task.recipe))
            verdict, reasons = judge(found, recipe, self.bundle.severities, doubts, outside)
        return Inspection(
            verdict=verdict,
            reasons=reasons,
            defects=found.defects,
            label_map=label_map,
            classes=names,
            image_probability=float(regions.probability.max(initial=0.0)),
            image_threshold=point.image_threshold,
            head_probability=scan.head_probability,
            unexplained_probability=head,
            head_threshold=point.head_threshold,
            measured_dice=measured,
            estimated_dice=estimated,
            image=task.info,
            timings_ms=timings.ms,
            recipe=recipe.name,
            gate_scores=None if scan.looked is None else scan.looked.scores,
            probability=marks.highest,
            part=part,
        )

    def operating_point(self, recipe: Recipe) -> OperatingPoint:
        """The active artifact's operating point, adapted to a recipe; raises RecipeInvalid."""
        return self.session.artifact.operating_point.for_recipe(recipe)

    def self_test(self, rest: Callable[[float], None] = lambda _: None) -> None:
        """Inspect the golden samples on the active provider; raises SelfTestFailed with each difference.

        This also warms up the session in every run mode, so that the first image is not slow. `rest` is
        called after each sample with the seconds it took, so that a caller can pause.
        """
        if not self.bundle.golden:
            raise SelfTestFailed("the bundle has no golden samples, so it cannot be tested here")
        wrong = list(setting_differences(self.bundle, self.session.artifact))
        for number, sample in enumerate(self.bundle.golden):
            began = time.perf_counter()
            with self.session.trying(number):
                wrong += self._differences(sample)
            rest(time.perf_counter() - began)
        began = time.perf_counter()
        wrong += self._batch_differences()
        rest(time.perf_counter() - began)
        if wrong:
            where = f"{self.session.artifact.name} on {self.session.execution_provider}"
            raise SelfTestFailed(f"golden samples are not reproduced by {where}: {'; '.join(wrong)}")

    def _batch_differences(self) -> list[str]:
        try:
            image = decode(self.bundle.read(self.bundle.golden[0].image), self.limits)
            check_batches(self.session, Tiles(image, self.bundle.input).cut([0])[0])
        except PasslineError as error:
            return [str(error)]
        return []

    def _differences(self, sample: GoldenSample) -> Iterator[str]:
        by = (self.session.artifact, self.session.execution_provider)
        try:
            seen = self.inspect_with_prediction(self.bundle.read(sample.image))
            for what in differences(self.bundle, sample, seen, by):
                yield f"{sample.image}: {what}"
        except PasslineError as error:
            yield f"{sample.image}: {error}"


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """One decoded image with the recipe, operating point and reference mask to inspect it with."""

    info: ImageInfo
    image: NDArray[np.uint8]
    reference: tuple[NDArray[np.uint8], bool] | None
    recipe: Recipe
    point: OperatingPoint
    timings: Timings

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.info.height, self.info.width

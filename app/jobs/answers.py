"""Run a job on a worker thread, and build the service's answers."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from uuid import uuid4

from app.inspection import mask_formats
from app.inspection.inspector import Inspector
from app.inspection.results import Extra, Inspection
from app.jobs.explanations import check_drawn, explain, needs_probability
from app.jobs.job import Job
from app.recipes.state import Recipes
from app.schemas.inspections import (
    BatchAnswer,
    BatchCounts,
    BatchItem,
    DiceAnswer,
    InspectionAnswer,
    Mask,
    MaskNone,
    MaskPng,
    MaskPolygons,
    MaskRle,
    ModelAnswer,
    ModelUsed,
    Options,
)


def inspect_job(job: Job) -> InspectionAnswer:
    """Inspect one image and build its answer; runs on a worker thread."""
    return inspect_in_full(job)[0]


def inspect_in_full(job: Job, keep: Collection[Extra] = ()) -> tuple[InspectionAnswer, Inspection]:
    """As `inspect_job`, with the inspection; `keep` names what it should keep besides its own needs."""
    started = time.perf_counter()
    job = _with_depth(job)
    upload, options, inspector = job.upload, job.options, job.inspector
    check_drawn(job)
    if needs_probability(options):
        keep = (*keep, "probability")
    inspection = inspector.inspect(
        upload.data, job.recipe, upload.reference_mask, job.cancellation, keep=keep
    )
    encoding = time.perf_counter()
    job.check()
    mask = mask_answer(inspection, options, job.check)
    answer = inspection_answer(inspection, job.recipe_version, options, model_used(inspector), mask)
    answer = explain(answer, inspection, job)
    ended = time.perf_counter()
    around = {"queue": started - job.placed, "encode": ended - encoding, "total": ended - job.placed}
    timings = inspection.timings_ms | {step: seconds * 1000 for step, seconds in around.items()}
    rounded = {step: round(ms, 3) for step, ms in timings.items()}
    return answer.model_copy(update={"timings_ms": rounded}), inspection


def _with_depth(job: Job) -> Job:
    """The job with the request's `significant_bits`, if given, in its recipe."""
    bits = job.options.significant_bits
    if bits is None:
        return job
    return replace(job, recipe=job.recipe.model_copy(update={"significant_bits": bits}))


def model_used(inspector: Inspector) -> ModelUsed:
    """The model of an inspector, with the execution provider that is really active."""
    return ModelUsed(
        name=inspector.bundle.name,
        version=inspector.bundle.version,
        artifact=inspector.session.artifact.name,
        execution_provider=inspector.session.execution_provider,
    )


def model_answer(inspector: Inspector, recipes: Recipes) -> ModelAnswer:
    """The bundle in full, for `GET /v1/model`."""
    bundle = inspector.bundle
    return ModelAnswer(
        **model_used(inspector).model_dump(),
        created=bundle.created.isoformat(),
        description=bundle.description,
        classes=bundle.classes,
        input=bundle.input,
        operating_point=inspector.session.artifact.operating_point,
        recipes=recipes.names,
        default_recipe=recipes.default_name,
        training=bundle.training,
    )


def mask_answer(inspection: Inspection, options: Options, check: Callable[[], None] = lambda: None) -> Mask:
    """The label map in the format requested; `check` is called regularly."""
    match options.mask:
        case "png":
            return MaskPng(format="png", data=mask_formats.to_png(inspection.label_map, check))
        case "rle":
            runs = mask_formats.to_rle(inspection.label_map, inspection.classes, check)
            return MaskRle(format="rle", data=runs)
        case "polygons":
            polygons = mask_formats.to_polygons(inspection.label_map, inspection.classes, check)
            return MaskPolygons(format="polygons", data=polygons)
        case "none":
            return MaskNone(format="none", data=None)


def inspection_answer(
    inspection: Inspection,
    recipe_version: int,
    options: Options,
    model: ModelUsed,
    mask: Mask,
) -> InspectionAnswer:
    """One image's answer without overlay, heat map and certificate; its timings are only the core's."""
    return InspectionAnswer(
        id=uuid4().hex,
        verdict=inspection.verdict,
        reasons=inspection.reasons,
        defects=inspection.defects,
        mask=mask,
        dice=DiceAnswer(measured=inspection.measured_dice, estimated=inspection.estimated_dice),
        image=inspection.image,
        model=model,
        timings_ms=inspection.timings_ms,
        image_probability=inspection.image_probability,
        image_threshold=inspection.image_threshold,
        head_probability=inspection.head_probability,
        unexplained_probability=inspection.unexplained_probability,
        head_threshold=inspection.head_threshold,
        recipe=inspection.recipe,
        recipe_version=recipe_version,
        part_id=options.part_id,
        camera_id=options.camera_id,
        gate_scores=None if inspection.gate_scores is None else dict(inspection.gate_scores),
        part=inspection.part,
    )


def batch_answer(items: Sequence[BatchItem]) -> BatchAnswer:
    """The answer of a batch: all items with their counts."""
    verdicts = [item.inspection.verdict for item in items if item.inspection is not None]
    counts = BatchCounts(
        images=len(items),
        passed=verdicts.count("pass"),
        failed=verdicts.count("fail"),
        review=verdicts.count("review"),
        problems=len(items) - len(verdicts),
    )
    return BatchAnswer(counts=counts, results=list(items))

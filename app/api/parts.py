"""Several images of one part: each is inspected as in a batch, and the part gets one verdict."""

import logging

from app.inspection.rules.part_model import resolve_parts
from app.inspection.rules.part_verdict import ImageResult, judge_part
from app.jobs.answers import model_used
from app.jobs.job import Submission, Upload
from app.problems import named
from app.schemas.inspections import BatchItem, InspectionAnswer, PartAnswer
from app.service import Service

log = logging.getLogger(__name__)


async def inspect_part(service: Service, submission: Submission, deadline: float) -> PartAnswer:
    """Inspect the images of one part and decide its verdict by its recipe's rule.

    An image that cannot be inspected makes the part at least a `review`. If no image can be inspected,
    the error of the first one is raised.
    """
    loaded, options = service.loaded, submission.options
    chosen = loaded.recipes.choose(options)  # once, as `loaded`: the same for all images
    model = resolve_parts(chosen.recipe.parts, loaded.inspector.operating_point(chosen.recipe).parts)

    async def inspect(upload: Upload) -> InspectionAnswer:
        return await service.inspect_when_room(loaded.job(upload, options, chosen), deadline)

    done = await service.in_turn(inspect, submission.pictures)
    errors = [each for each in done if isinstance(each, BaseException)]
    if len(errors) == len(done):
        raise named(errors[0]) from errors[0]
    pairs = zip(submission.pictures, done, strict=True)
    items = [service.item(upload, outcome) for upload, outcome in pairs]
    found = judge_part([image_result(each) for each in items], model)
    answer = PartAnswer(
        part_id=options.part_id or "",  # `uploads` refuses a part without one
        verdict=found.verdict,
        reasons=found.reasons,
        rule=chosen.recipe.parts,
        defect_probability=found.defect_probability,
        part_threshold=None if model is None else model.part_threshold,
        recipe=chosen.recipe.name,
        recipe_version=chosen.version,
        camera_id=options.camera_id,
        model=model_used(loaded.inspector),
        images=items,
    )
    service.metrics.part_inspected(answer)
    log.info(
        "part inspected",
        extra=answer.model_dump(include={"part_id", "verdict", "rule", "defect_probability"}),
    )
    return answer


def image_result(item: BatchItem) -> ImageResult:
    """The image's result as the part's rule uses it."""
    if item.inspection is None:
        return ImageResult(None, problem=None if item.problem is None else item.problem.code)
    found = item.inspection
    rules = tuple(dict.fromkeys(reason.rule for reason in found.reasons))
    return ImageResult(found.verdict, found.image_probability, rules)

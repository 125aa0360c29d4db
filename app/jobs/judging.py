"""One picture judged on a worker thread, from its bytes to the whole answer."""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from app.jobs.answers import inspection_answer, mask_answer, model_used
from app.jobs.explanations import explain, needs_probability
from app.jobs.job import Job
from app.schemas.inspections import InspectionAnswer

T = TypeVar("T")


def judge(job: Job) -> InspectionAnswer:
    """Inspect one picture and put the answer together; runs on a worker thread."""
    started = time.perf_counter()
    job = _with_depth(job)
    upload, options, inspector = job.upload, job.options, job.inspector
    keep = needs_probability(options)
    inspection = inspector.inspect(
        upload.data, job.recipe, upload.reference_mask, job.check, keep_probability=keep
    )
    encoding = time.perf_counter()
    job.check()
    mask = mask_answer(inspection, options)
    answer = inspection_answer(inspection, job.recipe_version, options, model_used(inspector), mask)
    answer = explain(answer, inspection, job)
    ended = time.perf_counter()
    around = {"queue": started - job.placed, "encode": ended - encoding, "total": ended - job.placed}
    timings = inspection.timings_ms | {step: seconds * 1000 for step, seconds in around.items()}
    return answer.model_copy(update={"timings_ms": {step: round(ms, 3) for step, ms in timings.items()}})


def _with_depth(job: Job) -> Job:
    """The job with a recipe that knows the image's depth as its request says it."""
    bits = job.options.significant_bits
    if bits is None:
        return job
    return replace(job, recipe=job.recipe.model_copy(update={"significant_bits": bits}))


async def in_time(
    run: Callable[[Callable[[], T], float], Awaitable[T]],
    work: Callable[[Job], T],
    job: Job,
    deadline: float,
) -> T:
    """Run the work of a job by `deadline`, in the event loop's time; it ends early if nobody waits."""
    left = deadline - asyncio.get_running_loop().time()
    timely = replace(job, useless_after=job.placed + left)
    try:
        return await run(functools.partial(work, timely), deadline)
    finally:
        timely.abandoned.set()

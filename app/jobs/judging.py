"""One picture judged on a worker thread, from its bytes to the whole answer."""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from app.jobs.answers import inspection_answer, mask_answer, model_used
from app.jobs.explanations import explain, needs_probability
from app.jobs.job import Order
from app.schemas.inspections import InspectionAnswer

T = TypeVar("T")


def judge(order: Order) -> InspectionAnswer:
    """Inspect one picture and put the answer together; runs on a worker thread."""
    started = time.perf_counter()
    upload, options, inspector = order.upload, order.options, order.inspector
    keep = needs_probability(options)
    inspection = inspector.inspect(
        upload.data, order.recipe, upload.reference_mask, order.check, keep_probability=keep
    )
    encoding = time.perf_counter()
    order.check()
    mask = mask_answer(inspection, options)
    answer = inspection_answer(inspection, order.recipe_version, options, model_used(inspector), mask)
    answer = explain(answer, inspection, order)
    ended = time.perf_counter()
    around = {"queue": started - order.placed, "encode": ended - encoding, "total": ended - order.placed}
    timings = inspection.timings_ms | {step: seconds * 1000 for step, seconds in around.items()}
    return answer.model_copy(update={"timings_ms": {step: round(ms, 3) for step, ms in timings.items()}})


async def in_time(
    run: Callable[[Callable[[], T], float], Awaitable[T]],
    work: Callable[[Order], T],
    order: Order,
    deadline: float,
) -> T:
    """Run the work on an order by `deadline`, in the event loop's time; it ends early if nobody waits."""
    left = deadline - asyncio.get_running_loop().time()
    timely = replace(order, useless_after=order.placed + left)
    try:
        return await run(functools.partial(work, timely), deadline)
    finally:
        timely.abandoned.set()

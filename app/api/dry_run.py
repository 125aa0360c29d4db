"""The dry run of a recipe over HTTP, as a batch."""

import asyncio
import functools

from app.jobs.dry_run import Both, compare, dry_run_answer, dry_run_item, in_force
from app.jobs.job import Submission, Upload
from app.schemas.recipes import DryRunAnswer, DryRunItem
from app.service import Service


async def dry_run(service: Service, submission: Submission, deadline: float) -> DryRunAnswer:
    """Compare for each picture by itself, as a batch; raises RecipeInvalid or RecipeUnknown for all of it."""
    loaded = service.loaded
    candidate = await asyncio.to_thread(loaded.state.candidate, submission.candidate)  # YAML is slow to read
    now = in_force(loaded.recipes, candidate, submission.options)

    async def one(upload: Upload) -> Both:
        job = loaded.job(upload, submission.options, now)
        return await service.run_when_room(functools.partial(compare, candidate), job, deadline)

    def item(upload: Upload, outcome: Both | BaseException) -> DryRunItem:
        known = service.problem(outcome) if isinstance(outcome, BaseException) else outcome
        return dry_run_item(upload.filename, known)

    done = await service.in_turn(one, submission.pictures)
    pairs = zip(submission.pictures, done, strict=True)
    return dry_run_answer(now, candidate, [item(*pair) for pair in pairs])

"""The work of one thread: an image, its inspector and recipe, and a deadline."""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from app.errors import DeadlineExceeded
from app.inspection.cancellation import NEVER, Cancellation
from app.inspection.decoding.raw import RawFrame
from app.inspection.inspector import Inspector
from app.inspection.rules.recipe import Recipe
from app.schemas.inspections import Options

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Upload:
    """One image as sent, a file's bytes or a camera's raw frame, with its reference mask if any."""

    filename: str | None
    data: bytes | RawFrame
    reference_mask: bytes | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """A whole request: its images in the order sent, its options, and the text of a candidate recipe."""

    pictures: tuple[Upload, ...]
    options: Options
    candidate: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """One image to inspect; both times are in seconds of `time.perf_counter`."""

    inspector: Inspector
    recipe: Recipe
    upload: Upload
    options: Options
    placed: float = field(default_factory=time.perf_counter)
    recipe_version: int = 1
    cancellation: Cancellation = NEVER

    def check(self) -> None:
        """Raise DeadlineExceeded if the caller is gone or the deadline has passed."""
        self.cancellation.check()


async def in_time(
    run: Callable[[Callable[[], T], float], Awaitable[T]],
    work: Callable[[Job], T],
    job: Job,
    deadline: float,
) -> T:
    """Run the work of a job by `deadline`, in the event loop's time; it ends early if nobody waits.

    Nobody does once the deadline has passed or this coroutine is cancelled, as it is when the client leaves.
    """
    left = deadline - asyncio.get_running_loop().time()
    cancellation = Cancellation(
        job.placed + left, lambda: DeadlineExceeded("the inspection was not finished by the deadline")
    )
    try:
        return await run(functools.partial(work, replace(job, cancellation=cancellation)), deadline)
    finally:
        cancellation.cancel()

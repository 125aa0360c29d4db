"""Order of inspections: a bounded queue in front of a few worker threads.

Every inspection holds one place from its arrival until its thread has finished, so abandoned work still
counts while it keeps a thread busy. If all places are taken, a single inspection is refused at once: a
production line that is told to slow down does better than one that gets every answer late. An inspection of
higher priority is still accepted if one of lower priority waits: of those, the lowest is refused.

Images of a batch wait for a place instead. All batches together hold at most half of the places, so they
never shut out the single inspections of a running line. Single inspections start before images of batches,
those of higher priority first, and those of equal priority in order of arrival.
"""

import asyncio
import contextvars
import functools
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from app.errors import DeadlineExceeded, NotReady, Overloaded

T = TypeVar("T")
SMOOTHING = 0.2  # weight of the newest run in the mean duration
LONGEST_RETRY_S = 60
IN_BATCH = -math.inf  # the urgency of a batch's images, below every priority


@dataclass(eq=False, slots=True)
class _Job:
    work: Callable[[], Any]
    urgency: float  # the higher, the sooner
    answer: asyncio.Future[Any]
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    started: float = 0.0


class Scheduler:
    """Runs work on threads within limits; its state belongs to one event loop, so it needs no locks."""

    def __init__(self, workers: int, places: int, executor: Executor | None = None) -> None:
        """`executor` provides the threads, by default as many as `workers`."""
        self.workers = workers
        self.places = places
        self._batch_places = max(1, places // 2)
        self._executor = executor or ThreadPoolExecutor(workers, thread_name_prefix="inspection")
        self._waiting: deque[_Job] = deque()
        self._running: set[_Job] = set()
        self._freed = asyncio.Event()
        self._closing = False
        self._mean_s = 0.0

    @property
    def running(self) -> int:
        """Number of inspections that a thread works on."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Number of inspections that have a place but no thread yet."""
        return len(self._waiting)

    async def run(self, work: Callable[[], T], deadline: float, priority: int = 0) -> T:
        """Run `work` on a thread, or raise Overloaded at once if no place is free.

        `deadline` is in the event loop's time; after it DeadlineExceeded is raised. Work whose caller is
        cancelled or too late is dropped unless it has started already. The higher the `priority`, the sooner.
        """
        self._check_begun(deadline)
        if self.running + self.waiting >= self.places and not self._displace(priority):
            raise Overloaded(
                f"all {self.places} places for inspections are taken; try again later", self._retry_after_s()
            )
        return await self._run(work, deadline, priority)

    async def run_when_room(self, work: Callable[[], T], deadline: float) -> T:
        """As `run`, but for an image of a batch: wait until the deadline for a place that batches may use."""
        if not await self._has_room_by(deadline):
            raise DeadlineExceeded("no place became free by the deadline; send fewer images at once")
        return await self._run(work, deadline, IN_BATCH)

    async def _has_room_by(self, deadline: float) -> bool:
        try:
            async with asyncio.timeout_at(deadline):
                while not self._closing and not self._room_for_batch():
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Accept nothing more, drop what has not started, and wait for what has."""
        self._closing = True
        self._freed.set()
        while self._waiting:
            job = self._waiting.popleft()
            if not job.answer.done():
                job.answer.set_exception(_stopping())
        await asyncio.to_thread(self._executor.shutdown)

    async def _run(self, work: Callable[[], T], deadline: float, urgency: float) -> T:
        loop = asyncio.get_running_loop()
        self._check_begun(deadline)
        job = _Job(work, urgency, loop.create_future())
        self._waiting.append(job)
        self._start_jobs()
        limit = asyncio.timeout_at(deadline)
        try:
            async with limit:
                answer: T = await job.answer
                return answer
        except TimeoutError:
            if not limit.expired():
                raise  # the work itself timed out on something
        finally:
            if job in self._waiting:
                self._waiting.remove(job)
                self._freed.set()
            del job, limit  # both know of the error that ends this call: it would hold itself, and the image
        # not while TimeoutError is handled: it would be kept as the context, and holds the image too
        raise DeadlineExceeded("the inspection was not finished by the deadline")

    def _check_begun(self, deadline: float) -> None:
        if self._closing:
            raise _stopping()
        if deadline <= asyncio.get_running_loop().time():
            raise DeadlineExceeded("the deadline had passed before the inspection could start")

    def _start_jobs(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and self.running < self.workers:
            job = max(self._waiting, key=lambda each: each.urgency)  # the first of equals
            self._waiting.remove(job)
            self._running.add(job)
            job.started = time.perf_counter()
            try:
                future = self._executor.submit(job.context.run, job.work)
            except RuntimeError as error:  # the system has no thread left; the next job may get one
                self._running.discard(job)
                if not job.answer.done():
                    job.answer.set_exception(error)
                continue
            future.add_done_callback(functools.partial(self._tell, loop, job))

    def _tell(self, loop: asyncio.AbstractEventLoop, job: _Job, done: Future[Any]) -> None:
        loop.call_soon_threadsafe(self._finish, job, done)  # on the worker's thread only this is safe

    def _finish(self, job: _Job, done: Future[Any]) -> None:
        took = time.perf_counter() - job.started
        self._mean_s += (took - self._mean_s) * (SMOOTHING if self._mean_s else 1.0)
        self._running.discard(job)
        self._freed.set()
        error = done.exception()
        if not job.answer.done():  # it is done if nobody waits any more
            if error is None:
                job.answer.set_result(done.result())
            else:
                job.answer.set_exception(error)
        if not self._closing:
            self._start_jobs()

    def _displace(self, priority: int) -> bool:
        """Refuse the waiting single inspection of the lowest priority, of equals the last, if it is lower."""
        singles = [job for job in reversed(self._waiting) if job.urgency > IN_BATCH and not job.answer.done()]
        least = min(singles, key=lambda each: each.urgency, default=None)
        if least is None or least.urgency >= priority:
            return False
        self._waiting.remove(least)
        why = "a more urgent image took the place of this one; try again later"
        least.answer.set_exception(Overloaded(why, self._retry_after_s()))
        return True

    def _room_for_batch(self) -> bool:
        in_batches = sum(job.urgency == IN_BATCH for job in (*self._waiting, *self._running))
        return self.running + self.waiting < self.places and in_batches < self._batch_places

    def _retry_after_s(self) -> int:
        expected = self._mean_s * (self.running + self.waiting) / self.workers
        return max(1, min(LONGEST_RETRY_S, math.ceil(expected)))


def _stopping() -> NotReady:
    return NotReady("the service is stopping; send the image again when it is back")

"""The queue before the worker threads: its bounds, its refusals, and what it drops."""

import asyncio
import contextlib
import contextvars
import functools
import gc
import threading
import time
import weakref
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from app.errors import DeadlineExceeded, NotReady, Overloaded
from app.jobs.scheduler import Scheduler

FAR = 60.0


class Gate:
    """Work that waits until it is let through, and tells how often it was begun."""

    def __init__(self) -> None:
        self.begun = 0
        self._open = threading.Event()

    def work(self) -> str:
        self.begun += 1
        assert self._open.wait(20)
        return "done"

    def open(self) -> None:
        self._open.set()


def in_loop(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 30))


def soon(seconds: float = FAR) -> float:
    return asyncio.get_running_loop().time() + seconds


async def until(condition: Any) -> None:
    """Let the loop turn until something holds."""
    while not condition():
        await asyncio.sleep(0.001)


def test_work_runs_on_a_thread_with_the_callers_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def scene() -> None:
        scheduler = Scheduler(workers=1, places=1)
        variable.set("of the caller")
        where = await scheduler.run(lambda: (threading.current_thread().name, variable.get()), soon())
        assert where[0].startswith("inspection")
        assert where[1] == "of the caller"
        await scheduler.close()

    in_loop(scene())


def test_errors_of_the_work_arrive_as_they_are() -> None:
    def work() -> None:
        raise TimeoutError("of a camera")

    async def scene() -> None:
        scheduler = Scheduler(workers=1, places=1)
        with pytest.raises(TimeoutError, match="of a camera"):
            await scheduler.run(work, soon())
        assert (scheduler.running, scheduler.waiting) == (0, 0)
        await scheduler.close()

    in_loop(scene())


def test_single_inspections_go_before_those_of_batches() -> None:
    async def scene() -> None:
        scheduler, gate, order = Scheduler(workers=1, places=8), Gate(), list[str]()
        first = asyncio.create_task(scheduler.run(gate.work, soon()))
        await until(lambda: gate.begun)
        batch = [
            asyncio.create_task(scheduler.run_when_room(lambda: order.append("batch"), soon()))
            for _ in range(2)
        ]
        await until(lambda: scheduler.waiting == 2)
        single = asyncio.create_task(scheduler.run(lambda: order.append("single"), soon()))
        await until(lambda: scheduler.waiting == 3)
        gate.open()
        await asyncio.gather(first, *batch, single)
        assert order == ["single", "batch", "batch"]
        await scheduler.close()

    in_loop(scene())


def test_a_full_queue_refuses_at_once_and_takes_again_when_it_has_room() -> None:
    async def scene() -> None:
        scheduler, gate = Scheduler(workers=1, places=3), Gate()
        tasks = [asyncio.create_task(scheduler.run(gate.work, soon())) for _ in range(3)]
        await until(lambda: gate.begun)
        assert (scheduler.running, scheduler.waiting) == (1, 2)
        with pytest.raises(Overloaded) as refusal:
            await scheduler.run(gate.work, soon())
        assert (refusal.value.retry_after_s or 0) >= 1
        gate.open()
        assert await asyncio.gather(*tasks) == ["done"] * 3
        assert await scheduler.run(gate.work, soon()) == "done"
        assert (scheduler.running, scheduler.waiting) == (0, 0)
        await scheduler.close()

    in_loop(scene())


def test_retry_after_grows_with_what_the_work_has_taken() -> None:
    async def scene() -> None:
        scheduler, gate = Scheduler(workers=1, places=10), Gate()
        await scheduler.run(lambda: time.sleep(0.3), soon())
        tasks = [asyncio.create_task(scheduler.run(gate.work, soon())) for _ in range(10)]
        await until(lambda: gate.begun)
        with pytest.raises(Overloaded) as refusal:
            await scheduler.run(gate.work, soon())
        assert 3 <= (refusal.value.retry_after_s or 0) <= 60
        gate.open()
        await asyncio.gather(*tasks)
        await scheduler.close()

    in_loop(scene())


def test_no_more_than_the_workers_run_at_once() -> None:
    most, now, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.002)
        with lock:
            now -= 1

    async def scene() -> None:
        scheduler = Scheduler(workers=3, places=50)
        await asyncio.gather(*(scheduler.run(work, soon()) for _ in range(50)))
        await scheduler.close()

    in_loop(scene())
    assert most == 3


def test_past_its_deadline_waiting_work_is_dropped_and_running_work_keeps_its_place() -> None:
    async def scene() -> None:
        scheduler, gate = Scheduler(workers=1, places=2), Gate()
        for _ in range(2):
            with pytest.raises(DeadlineExceeded):
                await scheduler.run(gate.work, soon(0.05))
        assert gate.begun == 1  # the second was still waiting
        assert (scheduler.running, scheduler.waiting) == (1, 0)
        gate.open()
        await until(lambda: scheduler.running == 0)
        with pytest.raises(DeadlineExceeded):
            await scheduler.run(gate.work, soon(-1))
        assert gate.begun == 1
        await scheduler.close()

    in_loop(scene())


def test_work_whose_client_left_before_it_began_is_dropped() -> None:
    async def scene() -> None:
        scheduler, gate = Scheduler(workers=1, places=3), Gate()
        tasks = [asyncio.create_task(scheduler.run(gate.work, soon())) for _ in range(3)]
        await until(lambda: gate.begun)
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
        assert scheduler.waiting == 1  # its place is free at once
        gate.open()
        assert await asyncio.gather(*tasks[::2]) == ["done", "done"]
        assert gate.begun == 2
        await scheduler.close()

    in_loop(scene())


def test_batches_wait_for_room_and_leave_half_of_the_places_to_others() -> None:
    async def scene() -> None:
        scheduler, gate = Scheduler(workers=1, places=4), Gate()
        batch = [asyncio.create_task(scheduler.run_when_room(gate.work, soon())) for _ in range(6)]
        await until(lambda: scheduler.waiting == 1)
        await asyncio.sleep(0.02)
        assert (scheduler.running, scheduler.waiting) == (1, 1)
        singles = [asyncio.create_task(scheduler.run(gate.work, soon())) for _ in range(2)]
        await until(lambda: scheduler.waiting == 3)
        gate.open()
        assert await asyncio.gather(*batch, *singles) == ["done"] * 8
        await scheduler.close()

    in_loop(scene())


def test_a_batch_that_finds_no_room_by_its_deadline_is_told() -> None:
    async def scene() -> None:
        scheduler, gate = Scheduler(workers=1, places=1), Gate()
        single = asyncio.create_task(scheduler.run(gate.work, soon()))
        await until(lambda: gate.begun)
        with pytest.raises(DeadlineExceeded, match="no place became free"):
            await scheduler.run_when_room(gate.work, soon(0.03))
        gate.open()
        await single
        await scheduler.close()

    in_loop(scene())


def test_closing_finishes_what_runs_and_refuses_the_rest() -> None:
    async def scene() -> None:
        scheduler, gate = Scheduler(workers=1, places=3), Gate()
        running = asyncio.create_task(scheduler.run(gate.work, soon()))
        await until(lambda: gate.begun)
        waiting = asyncio.create_task(scheduler.run(gate.work, soon()))
        no_room = asyncio.create_task(scheduler.run_when_room(gate.work, soon()))
        late = [asyncio.create_task(scheduler.run_when_room(gate.work, soon())) for _ in range(2)]
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(scheduler.close())
        await asyncio.sleep(0.01)
        gate.open()
        await closing
        assert await running == "done"
        for refused in (waiting, no_room, *late):
            with pytest.raises(NotReady, match="stopping"):
                await refused
        with pytest.raises(NotReady):
            await scheduler.run(gate.work, soon())
        assert gate.begun == 1

    in_loop(scene())


def test_a_storm_of_clients_that_come_and_go_leaves_nothing_behind() -> None:
    async def scene() -> None:
        scheduler = Scheduler(workers=2, places=8)

        async def client(number: int) -> None:
            run = scheduler.run if number % 3 else scheduler.run_when_room
            with contextlib.suppress(TimeoutError, Overloaded, DeadlineExceeded):
                await asyncio.wait_for(run(lambda: time.sleep(0.001), soon(0.02)), 0.001 * (number % 7))

        await asyncio.gather(*(client(number) for number in range(400)))
        await until(lambda: scheduler.running == 0)
        assert scheduler.waiting == 0
        assert await scheduler.run(lambda: "still serving", soon()) == "still serving"
        await scheduler.close()

    in_loop(scene())


def test_the_more_urgent_go_first_and_of_equal_ones_the_first() -> None:
    async def scene() -> None:
        scheduler, gate, order = Scheduler(workers=1, places=8), Gate(), list[str]()
        first = asyncio.create_task(scheduler.run(gate.work, soon()))
        await until(lambda: gate.begun)
        tasks = list[asyncio.Task[None]]()
        for name, priority in (("low", -1), ("a", 0), ("b", 0), ("high", 5)):
            work = functools.partial(order.append, name)
            tasks.append(asyncio.create_task(scheduler.run(work, soon(), priority)))
            await until(lambda: scheduler.waiting == len(tasks))
        gate.open()
        await asyncio.gather(first, *tasks)
        assert order == ["high", "a", "b", "low"]
        await scheduler.close()

    in_loop(scene())


def test_a_full_queue_takes_the_more_urgent_in_the_place_of_the_least() -> None:
    async def scene() -> None:
        scheduler, gate = Scheduler(workers=1, places=4), Gate()
        running = asyncio.create_task(scheduler.run(gate.work, soon()))
        await until(lambda: gate.begun)
        batch = asyncio.create_task(scheduler.run_when_room(gate.work, soon()))
        waiting = [asyncio.create_task(scheduler.run(gate.work, soon())) for _ in range(2)]
        await until(lambda: scheduler.waiting == 3)
        with pytest.raises(Overloaded, match="all 4 places"):
            await scheduler.run(gate.work, soon(), 0)  # no more urgent than they are
        urgent = asyncio.create_task(scheduler.run(lambda: "urgent", soon(), 1))
        with pytest.raises(Overloaded, match="more urgent") as refusal:
            await waiting[1]  # the last of the least urgent
        assert (refusal.value.retry_after_s or 0) >= 1
        gate.open()
        assert [await each for each in (running, waiting[0], batch, urgent)] == ["done"] * 3 + ["urgent"]
        await scheduler.close()

    in_loop(scene())


def test_an_urgent_one_that_is_too_late_displaces_nobody() -> None:
    async def scene() -> None:
        scheduler, gate = Scheduler(workers=1, places=2), Gate()
        tasks = [asyncio.create_task(scheduler.run(gate.work, soon())) for _ in range(2)]
        await until(lambda: gate.begun)
        with pytest.raises(DeadlineExceeded):
            await scheduler.run(gate.work, soon(-1), 9)
        gate.open()
        assert await asyncio.gather(*tasks) == ["done"] * 2
        await scheduler.close()

    in_loop(scene())


def test_urgent_ones_never_displace_each_other_or_what_runs() -> None:
    async def scene() -> None:
        scheduler, gate = Scheduler(workers=1, places=2), Gate()
        running = asyncio.create_task(scheduler.run(gate.work, soon()))
        await until(lambda: gate.begun)
        urgent = asyncio.create_task(scheduler.run(gate.work, soon(), 9))
        await until(lambda: scheduler.waiting == 1)
        with pytest.raises(Overloaded):
            await scheduler.run(gate.work, soon(), 9)
        gate.open()
        assert [await running, await urgent] == ["done"] * 2
        await scheduler.close()

    in_loop(scene())


class OutOfThreads(ThreadPoolExecutor):
    """Has no thread for the first work it is given."""

    refused = False

    def submit(self, *work: Any, **more: Any) -> Future[Any]:
        if not self.refused:
            self.refused = True
            raise RuntimeError("can't start new thread")
        return super().submit(*work, **more)


def test_work_that_gets_no_thread_fails_alone() -> None:
    async def test() -> None:
        scheduler = Scheduler(1, 4, OutOfThreads(1))
        with pytest.raises(RuntimeError, match="new thread"):
            await scheduler.run(lambda: "never", soon())
        assert await scheduler.run(lambda: "done", soon()) == "done"
        assert scheduler.running == 0
        await scheduler.close()

    in_loop(test())


@pytest.mark.parametrize("how", ["cancelled", "late", "failed"])
def test_what_was_given_up_is_freed_at_once(how: str) -> None:
    """Without the garbage collector: the error that ends a call must not hold itself, and the image."""

    class Image:
        pass

    def work(image: Image, gate: Gate) -> None:
        gate.work()
        if how == "failed":
            raise ValueError(image)

    async def given_up(scheduler: Scheduler) -> "weakref.ref[Image]":
        gate, image = Gate(), Image()
        found = weakref.ref(image)
        deadline = soon(0.1 if how == "late" else FAR)
        task = asyncio.create_task(scheduler.run(functools.partial(work, image, gate), deadline))
        del image
        await until(lambda: gate.begun)
        if how == "cancelled":
            task.cancel()
        if how == "failed":
            gate.open()
        await asyncio.wait((task,))
        assert task.cancelled() or task.exception()
        gate.open()
        return found

    async def scene() -> None:
        scheduler = Scheduler(workers=1, places=1)
        gc.collect()
        gc.disable()
        try:
            found = await given_up(scheduler)
            await until(lambda: scheduler.running == 0)
            await asyncio.sleep(0.05)  # the thread leaves its frame
            assert found() is None
        finally:
            gc.enable()
        await scheduler.close()

    in_loop(scene())

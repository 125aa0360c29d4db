"""The service without HTTP: a bundle with its recipes and the queue before it, or why there is none."""

import asyncio
import functools
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from app.answers import batch_answer, inspection_answer, mask_answer, model_answer, model_used
from app.errors import DeadlineExceeded, NotReady, Unexpected
from app.inspection.decode import DecodeLimits, decode
from app.inspection.errors import PasslineError
from app.inspection.inspector import Inspector
from app.inspection.recipe import Recipe
from app.overlay import draw
from app.problems import named, problem_of
from app.recipes import Recipes, load_recipes
from app.scheduler import Scheduler
from app.schemas import BatchAnswer, BatchItem, InspectionAnswer, ModelAnswer, Options, Readiness
from app.settings import Settings
from app.telemetry import Metrics
from app.uploads import Submission, Upload, Uploads

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What there is once the service is ready."""

    inspector: Inspector
    recipes: Recipes


@dataclass(frozen=True, slots=True)
class Order:
    """One picture to be judged; both times are in the clock of `time.perf_counter`."""

    inspector: Inspector
    recipe: Recipe
    upload: Upload
    options: Options
    placed: float = field(default_factory=time.perf_counter)
    useless_after: float = math.inf

    def check(self) -> None:
        """Raise DeadlineExceeded once nobody waits any more: the thread is needed for others."""
        if time.perf_counter() > self.useless_after:
            raise DeadlineExceeded("the inspection was not done by the deadline; it was not judged")


class Service:
    """Everything the routes call; belongs to one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.uploads = Uploads(settings)
        self._scheduler = Scheduler(settings.workers, settings.queue_size)
        self._loaded: Loaded | None = None
        self._obstacle = NotReady("the service has not started")
        watch = self.metrics.watch
        watch("queue_waiting", "Inspections that wait for a thread.", lambda: self._scheduler.waiting)
        watch("queue_running", "Inspections that a thread is busy with.", lambda: self._scheduler.running)
        watch("queue_places", "Inspections that may wait or run at once.", lambda: self._scheduler.places)
        watch("upload_bytes", "Memory that the bodies of requests hold.", lambda: self.uploads.held_bytes)

    async def start(self) -> None:
        """Load, self-test and warm up the bundle, once; raises the PasslineError that prevents it."""
        started = time.perf_counter()
        loaded = await asyncio.to_thread(load, self.settings)
        model = model_used(loaded.inspector)
        took = round((time.perf_counter() - started) * 1000)
        log.info("ready", extra={"ms": took, "model": model.model_dump(), "recipes": loaded.recipes.names})
        self.metrics.ready(model)
        self._loaded = loaded

    def refuse(self, error: Exception) -> None:
        """Judge nothing, and tell everyone why."""
        cause = error if isinstance(error, PasslineError) else Unexpected(f"{type(error).__name__}: {error}")
        self._obstacle = NotReady(f"no bundle is being served: {cause}", cause)
        unforeseen = error if isinstance(cause, Unexpected) else None
        log.error("not ready", extra={"code": cause.code, "reason": str(cause)}, exc_info=unforeseen)

    async def stop(self) -> None:
        """Finish what runs and take nothing more."""
        self.metrics.stopped()
        await self._scheduler.close()
        self._loaded, self._obstacle = None, NotReady("the service has stopped")
        log.info("stopped")

    @property
    def loaded(self) -> Loaded:
        """What is being served; raises NotReady with the reason where nothing is."""
        if self._loaded is None:
            raise self._obstacle
        return self._loaded

    def readiness(self) -> Readiness:
        """That the service is ready, and with what; raises NotReady."""
        return Readiness(status="ready", model=model_used(self.loaded.inspector))

    def model(self) -> ModelAnswer:
        """The bundle in full; raises NotReady."""
        return model_answer(self.loaded.inspector, self.loaded.recipes)

    async def inspect(self, submission: Submission, deadline: float) -> InspectionAnswer:
        """Inspect a request's one picture by `deadline`, in the event loop's time; raises a PasslineError."""
        work = self._work(submission.pictures[0], submission.options, deadline)
        return self._recorded(await self._scheduler.run(work, deadline))

    async def inspect_batch(self, submission: Submission, deadline: float) -> BatchAnswer:
        """Inspect each picture by itself: whatever becomes of one, the others are as they would be alone."""
        turn = asyncio.Semaphore(self.settings.workers)  # more at once would only fill the queue

        async def inspect(upload: Upload) -> InspectionAnswer:
            async with turn:
                work = self._work(upload, submission.options, deadline)
                return self._recorded(await self._scheduler.run_when_room(work, deadline))

        self.loaded.recipes.find(submission.options.recipe)  # else every picture would say the same
        done = await asyncio.gather(*map(inspect, submission.pictures), return_exceptions=True)
        pairs = zip(submission.pictures, done, strict=True)
        return batch_answer([self._item(upload, outcome) for upload, outcome in pairs])

    def _work(self, upload: Upload, options: Options, deadline: float) -> Callable[[], InspectionAnswer]:
        recipe = self.loaded.recipes.find(options.recipe)
        order = Order(self.loaded.inspector, recipe, upload, options)
        left = deadline - asyncio.get_running_loop().time()
        return functools.partial(judge, replace(order, useless_after=order.placed + left))

    def _recorded(self, answer: InspectionAnswer) -> InspectionAnswer:
        self.metrics.inspected(answer)
        about = answer.model_dump(include={"id", "verdict", "recipe", "part_id", "camera_id"})
        log.info("inspected", extra=about | {"ms": answer.timings_ms["total"]})
        return answer

    def _item(self, upload: Upload, outcome: InspectionAnswer | BaseException) -> BatchItem:
        if isinstance(outcome, InspectionAnswer):
            return BatchItem(filename=upload.filename, inspection=outcome, problem=None)
        problem = problem_of(named(outcome))
        self.metrics.refused(problem)
        return BatchItem(filename=upload.filename, inspection=None, problem=problem)


def load(settings: Settings) -> Loaded:
    """Load the bundle and the recipes, run the self-test, and warm up; raises a PasslineError."""
    limits = DecodeLimits(max_bytes=settings.max_upload_bytes, max_pixels=settings.max_pixels)
    inspector = Inspector.load(settings.bundle_dir, settings.device, settings.threads, limits)
    recipes = load_recipes(inspector.bundle, settings.recipes_dir, settings.default_recipe)
    inspector.self_test()
    # Once through everything, since the first overlay and the first PNG are slow too.
    sample = Upload(None, inspector.bundle.read(inspector.bundle.golden[0].image))
    judge(Order(inspector, recipes.default, sample, Options(overlay=True)))
    return Loaded(inspector, recipes)


def judge(order: Order) -> InspectionAnswer:
    """Inspect one picture and put the answer together; runs on a worker thread."""
    started = time.perf_counter()
    upload = order.upload
    inspection = order.inspector.inspect(upload.data, order.recipe, upload.reference_mask, order.check)
    encoding = time.perf_counter()
    mask = mask_answer(inspection, order.options)
    picture = decode(order.upload.data, order.inspector.limits) if order.options.overlay else None
    overlay = None if picture is None else draw(picture, inspection)
    ended = time.perf_counter()
    around = {"queue": started - order.placed, "encode": ended - encoding, "total": ended - order.placed}
    answer = inspection_answer(inspection, order.options, model_used(order.inspector), mask, overlay)
    timings = inspection.timings_ms | {step: seconds * 1000 for step, seconds in around.items()}
    return answer.model_copy(update={"timings_ms": {step: round(ms, 3) for step, ms in timings.items()}})

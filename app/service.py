"""The service without HTTP: the active bundle, its recipes, and the queue of inspections."""

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from app.bundles.registry import BundleRegistry
from app.bundles.tensorrt import build_beside, lacks_engine
from app.database.connection import Database, free_bytes, open_database
from app.errors import NotReady, Unexpected
from app.history.history import History, watch_history
from app.inspection.errors import PasslineError, RecipeInvalid
from app.inspection.inference.threads import default_workers
from app.inspection.inspector import Inspector
from app.jobs.answers import batch_answer, inspect_job, model_answer, model_used
from app.jobs.job import Job, Submission, Upload, in_time
from app.jobs.loading import Loaded, load, load_inspector, open_recipes
from app.jobs.recording import Inspected, work_of
from app.jobs.recovery import Recovery, renewed
from app.jobs.scheduler import Scheduler
from app.problems import named, problem_of
from app.recipes.history import AnyChange, RecipeChange
from app.recipes.state import Recipes, State
from app.recipes.store import RecipeStore
from app.schemas.inspections import BatchAnswer, BatchItem, InspectionAnswer, ModelAnswer, Problem, Readiness
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.telemetry.tracing import Traces, traces_to

T = TypeVar("T")
REST = 4  # pause of background work while live images are inspected, relative to the time worked
REST_STEP_S = 0.005
log = logging.getLogger(__name__)


class Service:
    """Everything that the endpoints call; use it from one event loop only."""

    def __init__(self, settings: Settings, traces: Traces | None = None) -> None:
        self.settings = settings
        self.traces = traces or traces_to(settings.otlp_endpoint)
        self.metrics = Metrics(settings.max_cameras, settings.drift_window)
        self._scheduler = Scheduler(
            settings.workers or default_workers(settings.threads), settings.queue_size
        )
        self._recovery = Recovery(self._active, self._renew)
        self._store: RecipeStore | None = None
        self._database: Database | None = None
        self._history: History | None = None
        self._building: asyncio.Task[None] | None = None  # of a TensorRT engine, in another process
        self._obstacle = NotReady("the service has not started")
        load_aside = functools.partial(load_inspector, settings=settings, rest=self.rest)
        self.bundles = BundleRegistry(settings, self, self.metrics, load_aside, inspect_job)
        watch = self.metrics.watch
        watch("queue_waiting", "Inspections that wait for a thread.", lambda: self._scheduler.waiting)
        watch("queue_running", "Inspections that are running.", lambda: self._scheduler.running)
        watch("queue_places", "Inspections that may wait or run at once.", lambda: self._scheduler.places)
        watch("ready", "1 while the service is ready, else 0.", lambda: float(self._obstacle_now() is None))
        watch("failed_runs", "Consecutive failed model runs.", lambda: self._recovery.failures)
        watch(
            "bundle_kept",
            "1 while the next start would serve the same bundle, else 0.",
            lambda: float(self.bundles.active is None or self.bundles.active.kept),
        )
        watch_history(watch, lambda: self._history)
        watch("disk_free_bytes", "Free on the disk of data.", lambda: free_bytes(settings.data_dir))

    async def start(self) -> None:
        """Load, self-test and warm up the bundle, once; raises the PasslineError that prevents it.

        Recipes in force that do not fit the bundle do not prevent it: they can be corrected while it waits.
        """
        started = time.perf_counter()
        self._database = await asyncio.to_thread(open_database, self.settings)
        self._history = History(self.settings, self._database)
        directory = await asyncio.to_thread(self.bundles.to_serve, self._database)
        loaded = await asyncio.to_thread(load, directory, self.settings, self._database, self._changed)
        model = model_used(loaded.inspector)
        took = round((time.perf_counter() - started) * 1000)
        await asyncio.to_thread(loaded.store.keep_hand_made)
        self._store = loaded.store
        self.bundles.started(loaded.inspector)
        if lacks_engine(loaded.inspector, self.settings.engines_dir):
            self._building = asyncio.create_task(build_beside(loaded.inspector))
        obstacle = self._obstacle_now()
        if obstacle is None:
            log.info(
                "ready", extra={"ms": took, "model": model.model_dump(), "recipes": loaded.recipes.names}
            )
        else:
            log.error("not ready", extra={"code": RecipeInvalid.code, "reason": str(obstacle)})

    def _active(self) -> Inspector | None:
        return None if self.bundles.active is None else self.bundles.active.inspector

    async def _renew(self) -> None:
        """Replace the lost session by a new one; raises a PasslineError."""
        await self.bundles.renew(functools.partial(renewed, settings=self.settings))

    def refuse(self, error: Exception) -> None:
        """Refuse all inspections with `error` as the reason."""
        cause = error if isinstance(error, PasslineError) else Unexpected(f"{type(error).__name__}: {error}")
        self._obstacle = NotReady(f"no bundle is being served: {cause}", cause)
        unforeseen = error if isinstance(cause, Unexpected) else None
        log.error("not ready", extra={"code": cause.code, "reason": str(cause)}, exc_info=unforeseen)

    async def stop(self) -> None:
        """Accept no new work and finish what is running."""
        if self._building is not None:
            self._building.cancel()
            await asyncio.wait((self._building,))
        await self._recovery.close()
        self.bundles.close()
        await self._scheduler.close()
        self._store, self._obstacle = None, NotReady("the service has stopped")
        if self._history is not None:
            await asyncio.to_thread(self._history.close)
        if self._database is not None:
            self._database.close()
        log.info("stopped")
        await asyncio.to_thread(self.traces.stop)

    @property
    def loaded(self) -> Loaded:
        """The active inspector and recipes; raises NotReady with the reason if there are none."""
        obstacle = self._obstacle_now()
        if self._store is None or obstacle is not None:
            raise obstacle or self._obstacle
        return Loaded(self._store, self._store.state)

    @property
    def store(self) -> RecipeStore:
        """The recipes, also while some of them keep the service from being ready; raises NotReady."""
        if self._store is None:
            raise self._obstacle
        return self._store

    @property
    def database(self) -> Database:
        """The database, also while no bundle is served; raises NotReady."""
        if self._database is None:
            raise self._obstacle
        return self._database

    @property
    def history(self) -> History:
        """What is kept of inspections; raises NotReady."""
        if self._history is None:
            raise self._obstacle
        return self._history

    @property
    def is_idle(self) -> bool:
        """Whether no live image is being inspected or waiting; any thread may ask."""
        return self._scheduler.waiting + self._scheduler.running == 0

    @property
    def is_waited_for(self) -> bool:
        """Whether a live image waits for a thread; any thread may ask."""
        return self._scheduler.waiting > 0

    def disagreed(self, id: str) -> None:
        """Ask people to look at an inspection of which a candidate disagrees; blocks."""
        if self._history is not None:
            self._history.disagreed(id)

    def rest(self, worked_s: float) -> None:
        """Pause background work that took `worked_s` seconds, while live images are inspected; blocks."""
        until = time.perf_counter() + REST * worked_s
        while not self.is_idle and time.perf_counter() < until:
            time.sleep(REST_STEP_S)

    def serve(self, inspector: Inspector, keep: Callable[[], None]) -> None:
        """Make `inspector` active after `keep` has written that down; blocks, so call it on a thread.

        If no bundle was served, the service becomes ready. Raises if recipes in force do not fit.
        """
        store = self._store or open_recipes(inspector, self.settings, self._database, self._changed)
        store.serve(inspector, keep)
        if self._store is None:
            store.keep_hand_made()
            self._store = store

    def switched(self) -> None:
        """Resume recovery: a bundle rolled back to may have lost its execution provider before."""
        self._recovery.resume()

    @property
    def recipes(self) -> Recipes | None:
        """The recipes for live images; None while no bundle is served."""
        return None if self._store is None else self._store.state.recipes

    def state_with(self, inspector: Inspector) -> State | None:
        """The state as it would be with `inspector` active; None while no bundle is served.

        Blocks. Raises RecipeInvalid or RecipeUnknown.
        """
        return None if self._store is None else self._store.state_with(inspector)

    def _obstacle_now(self) -> NotReady | None:
        """Why images cannot be inspected now; None if they can."""
        if self._store is None:
            return self._obstacle
        try:
            self._recovery.check(self._store.state.inspector)
            self._store.state.recipes.check()
        except NotReady as obstacle:
            return obstacle
        except RecipeInvalid as error:
            return NotReady(f"no image can be inspected: {error}", error)
        return None

    def readiness(self) -> Readiness:
        """The answer of a ready service, with its model; raises NotReady."""
        return Readiness(status="ready", model=model_used(self.loaded.inspector))

    def model(self) -> ModelAnswer:
        """The bundle in full; raises NotReady."""
        loaded = self.loaded
        return model_answer(loaded.inspector, loaded.recipes)

    async def inspect(self, submission: Submission, deadline: float) -> InspectionAnswer:
        """Inspect a request's one image by `deadline`, in the event loop's time; raises a PasslineError."""
        job = self.loaded.job(submission.pictures[0], submission.options)
        priority = self.settings.camera_priorities.get(submission.options.camera_id or "", 0)
        run = functools.partial(self._scheduler.run, priority=priority)
        work = in_time(run, work_of(self.history.recorder), job, deadline)
        return await self._kept(job, await self._recovery.watch(job.inspector, work))

    async def inspect_batch(self, submission: Submission, deadline: float) -> BatchAnswer:
        """Inspect each image independently: a failed image does not affect the others."""
        loaded = self.loaded
        chosen = loaded.recipes.choose(submission.options)  # once: the same for all images

        async def inspect(upload: Upload) -> InspectionAnswer:
            return await self.inspect_when_room(loaded.job(upload, submission.options, chosen), deadline)

        done = await self.in_turn(inspect, submission.pictures)
        pairs = zip(submission.pictures, done, strict=True)
        return batch_answer([self.item(upload, outcome) for upload, outcome in pairs])

    async def inspect_when_room(self, job: Job, deadline: float) -> InspectionAnswer:
        """Inspect one image of several by `deadline`; raises a PasslineError."""
        work = work_of(self.history.recorder)
        return await self._kept(job, await self.run_when_room(work, job, deadline))

    async def run_when_room(self, work: Callable[[Job], T], job: Job, deadline: float) -> T:
        """Do one image's work on a thread, as an image of a batch; raises a PasslineError."""
        timely = in_time(self._scheduler.run_when_room, work, job, deadline)
        return await self._recovery.watch(job.inspector, timely)

    async def in_turn(
        self, work: Callable[[Upload], Awaitable[T]], pictures: Iterable[Upload]
    ) -> list[T | BaseException]:
        """The results or errors of `work` for each image, a few at once: more would only fill the queue."""
        turn = asyncio.Semaphore(self._scheduler.workers)

        async def one(upload: Upload) -> T:
            async with turn:
                return await work(upload)

        return await asyncio.gather(*map(one, pictures), return_exceptions=True)

    async def _kept(self, job: Job, inspected: Inspected) -> InspectionAnswer:
        """The answer, once its record is stored; raises DatabaseUnusable."""
        answer = inspected.answer
        await self.history.keep(inspected.record)
        self.metrics.inspected(answer)
        self.traces.inspected(answer)
        self.bundles.answered(job, answer)
        about = answer.model_dump(
            include={"id", "verdict", "recipe", "recipe_version", "part_id", "camera_id"}
        )
        log.info("inspected", extra=about | {"ms": answer.timings_ms["total"]})
        return answer

    def item(self, upload: Upload, outcome: InspectionAnswer | BaseException) -> BatchItem:
        """The answer for one image of several; counts a problem."""
        if isinstance(outcome, InspectionAnswer):
            return BatchItem(filename=upload.filename, inspection=outcome, problem=None)
        return BatchItem(filename=upload.filename, inspection=None, problem=self.problem(outcome))

    def problem(self, error: BaseException) -> Problem:
        """The problem of one image of several; counts it."""
        problem = problem_of(named(error))
        self.metrics.refused(problem)
        return problem

    def _changed(self, change: AnyChange) -> None:
        self.metrics.changed(change.kind)
        if isinstance(change, RecipeChange) and change.text is None:
            self.metrics.forget_recipe(change.name)
        about = change.model_dump(mode="json", include={"who", "why", "name", "how", "activations"})
        about["recipe"] = about.pop("name", None)  # a log record has a name of its own
        versions = {"old_version": change.version - 1, "new_version": change.version}
        log.info(f"{change.kind} changed", extra=about | versions)

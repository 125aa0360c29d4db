"""The bundles in memory: the active one, the previous one, and a candidate.

No inspection runs through this module.
A swap is one assignment: an inspection in progress keeps its bundle.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from app.bundles.candidate import Candidate, Judge, Stage, Way, name_of
from app.bundles.shadow import Shadow
from app.bundles.storage import BundleFolder, BundleJournal, Swap, bundle_to_serve
from app.bundles.trial import Trial
from app.change_errors import (
    BundleInUse,
    CandidateNotFound,
    NoPreviousBundle,
    VersionStale,
)
from app.database.connection import Database
from app.inspection.inspector import Inspector
from app.jobs.answers import model_used
from app.jobs.job import Job
from app.schemas.bundles import BundleName, CandidateAsked, How, Promote
from app.schemas.inspections import InspectionAnswer
from app.schemas.recipes import By
from app.settings import Settings
from app.telemetry.metrics import Metrics

KEEP_AGAIN_S = 10.0
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Served:
    """A loaded bundle, with the time and reason of its activation; `kept`: a restart serves it again."""

    inspector: Inspector
    since: datetime
    how: How
    by: By
    kept: bool = True
    from_setting: bool = False

    def is_of_same_bundle(self, other: "Served") -> bool:
        """Whether both have the same bundle; their sessions may differ."""
        return self.inspector.bundle.manifest_sha256 == other.inspector.bundle.manifest_sha256

    def change(self, number: int, shadow: Shadow | None = None) -> Swap:
        """The journal entry of its activation, with `shadow`'s counts; `how` must not be `start`."""
        bundle = self.inspector.bundle
        return Swap.model_validate(
            {
                "number": number,
                "when": self.since,
                "how": self.how,
                "name": bundle.name,
                "version": bundle.version,
                "manifest_sha256": bundle.manifest_sha256,
                "from_setting": self.from_setting,
                "shadow": None if shadow is None else shadow.counts.model_dump(),
                **self.by.model_dump(),
            }
        )


class BundleRegistry:
    """Loads, promotes and rolls back bundles, one change at a time; use it from one event loop only."""

    def __init__(
        self,
        settings: Settings,
        stage: Stage,
        metrics: Metrics,
        load: Callable[[Path], Inspector],
        judge: Judge,
    ) -> None:
        """`load` loads, self-tests and warms up the bundle in a folder; `judge` inspects one image."""
        self.folder = BundleFolder(settings.bundles_dir)
        self.journal = BundleJournal(None)
        self.active: Served | None = None
        self.previous: Served | None = None
        self._candidate: Candidate | None = None
        self._settings = settings
        self._stage = stage
        self._metrics = metrics
        self._load = load
        self._judge = judge
        self._changing = asyncio.Lock()
        self._turn = asyncio.Lock()  # two loads at once would take twice the memory
        self._tasks: set[asyncio.Task[None]] = set()

    def to_serve(self, database: Database) -> Path:
        """The bundle folder to load at start; raises the errors of `bundle_to_serve`."""
        self.journal = BundleJournal(database)
        return bundle_to_serve(self._settings, self.journal)

    def started(self, inspector: Inspector) -> None:
        """Make `inspector` the active one at the start of the service."""
        served = Served(inspector, datetime.now(UTC), "start", By(), from_setting=True)
        for last in self.journal.changes[-1:]:
            if last.manifest_sha256 == inspector.bundle.manifest_sha256:  # the setting may name another now
                by = By(who=last.who, why=last.why)
                served = Served(inspector, last.when, last.how, by, from_setting=last.from_setting)
        self.journal.began_with(inspector.bundle)
        self._switch(served)

    def close(self) -> None:
        """Release all bundles."""
        self._let_go()
        self.active = self.previous = None

    @property
    def candidate(self) -> Candidate:
        """The candidate; raises CandidateNotFound."""
        if self._candidate is None:
            raise CandidateNotFound("there is no candidate; PUT /v1/bundles/candidate loads one")
        return self._candidate

    def check_is_candidate(self, candidate: Candidate) -> None:
        """Raise CandidateNotFound if `candidate` has been replaced or dropped."""
        if self.candidate is not candidate:
            raise CandidateNotFound("another candidate has taken its place; read GET /v1/bundles again")

    async def propose(self, asked: CandidateAsked, by: By) -> Candidate:
        """Load a bundle as the new candidate; if it is the candidate already, only set its shadow mode.

        Raises SwappingOff, BundleNotFound or BundleInUse.
        """
        bundle = BundleName(name=asked.name, version=asked.version)
        async with self._changing:
            place = await asyncio.to_thread(self.folder.find, bundle)
            if self.active is not None and name_of(self.active.inspector) == bundle:
                raise BundleInUse(f"bundle {bundle} is already active")
            candidate = self._candidate
            if candidate is None or candidate.bundle != bundle or candidate.state == "failed":
                trial = Trial(place, self._settings)
                candidate = self.load_aside(bundle, by, lambda: self._load(place), trial)
            candidate.look(self._judge if asked.shadow else None)
            return candidate

    def load_aside(self, bundle: BundleName, by: By, way: Way, trial: Trial | None = None) -> Candidate:
        """Load a candidate on a thread; `way` returns its inspector, self-tested and warmed up.

        `trial` is run first: its process can be killed, a thread cannot.
        The previous candidate is unloaded. `way` may also return the active bundle in a new session,
        such as one on an execution provider that takes long to build.
        """
        self._let_go()
        self._candidate = Candidate(bundle, by, self._stage, self._metrics)
        self._begin(self._candidate.load(way, self._turn, trial))
        return self._candidate

    async def drop(self, candidate: Candidate) -> None:
        """Unload the candidate; raises CandidateNotFound if it has been replaced or dropped."""
        async with self._changing:
            self.check_is_candidate(candidate)
            self._let_go()

    async def promote(self, asked: Promote) -> Served:
        """Make the candidate the active bundle and write that down; the previous bundle stays in memory.

        Raises CandidateNotFound, CandidateNotReady, VersionStale (the request names another candidate,
        or another process changes bundles), RecipeInvalid or RecipeUnknown (recipes in force do not
        fit it), or DatabaseUnusable. After an error nothing has changed.
        """
        async with self._changing:
            candidate = self.candidate
            _check_meant(candidate.bundle, asked)
            by = By(who=asked.who, why=asked.why)
            served = Served(candidate.ready(), datetime.now(UTC), "promotion", by)
            if self.active is not None and self.active.is_of_same_bundle(served):
                served = replace(served, from_setting=self.active.from_setting)
            change = served.change(self.journal.next_number, candidate.shadow)
            await asyncio.to_thread(self._stage.serve, served.inspector, lambda: self.journal.keep(change))
            self.previous = self.active
            self._let_go()
            self._switch(served)
            self._metrics.swapped(change.how)
            return served

    async def roll_back(self, by: By) -> Served:
        """Make the previous bundle active again; the bundle rolled back from is unloaded.

        It succeeds even if it cannot be written down: a rollback must not depend on a disk.
        Raises NoPreviousBundle, or RecipeInvalid or RecipeUnknown (recipes in force do not fit it).
        """
        async with self._changing:
            if self.previous is None:
                raise NoPreviousBundle(
                    "no bundle is held to go back to; load one with PUT /v1/bundles/candidate and promote it"
                )
            served = replace(self.previous, since=datetime.now(UTC), how="rollback", by=by)
            served = replace(served, kept=await asyncio.to_thread(self._go_back_to, served))
            self.previous = None
            self._switch(served)
            self._metrics.swapped("rollback")
            if not served.kept:
                self._begin(self._keep_later(served))
            return served

    async def renew(self, way: Callable[[Inspector], Inspector]) -> None:
        """Replace the active inspector by what `way` returns for it: the same bundle in a new session.

        Raises the errors of `way`. If another bundle has become active meanwhile, nothing changes.
        """
        was = self.active
        if was is None:
            return
        inspector = await asyncio.to_thread(way, was.inspector)
        async with self._changing:
            if self.active is not None and self.active.inspector is was.inspector:
                await asyncio.to_thread(self._stage.serve, inspector, lambda: None)
                self.active = replace(self.active, inspector=inspector)

    def answered(self, job: Job, answer: InspectionAnswer) -> None:
        """Pass an inspected live image on to the candidate if it is in shadow mode."""
        if self._candidate is not None and self._candidate.shadow is not None:
            self._candidate.shadow.answered(job, answer)

    def _go_back_to(self, served: Served) -> bool:
        """Serve the bundle; returns whether the change could be written down."""
        change, kept = served.change(self.journal.next_number), True

        def keep() -> None:
            nonlocal kept
            kept = self.journal.try_to_keep(change)

        self._stage.serve(served.inspector, keep)
        return kept

    async def _keep_later(self, served: Served) -> None:
        """Retry writing the change while it is active: the disk may be repaired or have space again."""
        while True:
            await asyncio.sleep(KEEP_AGAIN_S)
            async with self._changing:
                if self.active is None or self.active.since != served.since:
                    return
                if await asyncio.to_thread(self.journal.try_to_keep, served.change(self.journal.next_number)):
                    self.active = replace(self.active, kept=True)
                    return

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # the event loop itself keeps no task alive
        task.add_done_callback(self._tasks.discard)

    def _let_go(self) -> None:
        if self._candidate is not None:
            self._candidate.let_go()
        self._candidate = None

    def _switch(self, served: Served) -> None:
        self.active = served
        model = model_used(served.inspector)
        self._metrics.loaded(model, served.inspector.session.artifact.gate)
        about = {"how": served.how, "kept": served.kept} | served.by.model_dump()
        log.info("bundle serves", extra={"model": model.model_dump()} | about)
        self._stage.switched()


def _check_meant(bundle: BundleName, asked: Promote) -> None:
    name, version = asked.name or bundle.name, asked.version or bundle.version
    if (name, version) != (bundle.name, bundle.version):
        raise VersionStale(f"the candidate is {bundle} and not {name}/{version}; read GET /v1/bundles again")

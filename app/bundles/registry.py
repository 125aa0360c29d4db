"""The bundles in memory: the one that judges, the one before it, and a candidate loaded aside.

Nothing here is on the way of an image. A swap is one assignment: an inspection in progress keeps its bundle.
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
from app.change_errors import (
    BundleInUse,
    CandidateNotFound,
    NoPreviousBundle,
    VersionStale,
)
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
    """A bundle in memory, since when and why; `kept`: it is served again after a restart."""

    inspector: Inspector
    since: datetime
    how: How
    by: By
    kept: bool = True
    from_setting: bool = False

    def is_of_same_bundle(self, other: "Served") -> bool:
        """Whether both are of one bundle, perhaps in sessions of their own."""
        return self.inspector.bundle.manifest_sha256 == other.inspector.bundle.manifest_sha256

    def change(self, number: int, shadow: Shadow | None = None) -> Swap:
        """The change that made it judge, `shadow` being the candidate's; `how` must not be `start`."""
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
    """Loads, promotes and rolls back; belongs to one event loop, and one change is made after the other."""

    def __init__(
        self,
        settings: Settings,
        stage: Stage,
        metrics: Metrics,
        load: Callable[[Path], Inspector],
        judge: Judge,
    ) -> None:
        """`load` gets the bundle in a folder ready, tested and warm; `judge` is what images go through."""
        self.folder = BundleFolder(settings.bundles_dir)
        self.journal = BundleJournal(settings.state_dir)
        self.active: Served | None = None
        self.previous: Served | None = None
        self._candidate: Candidate | None = None
        self._settings = settings
        self._stage = stage
        self._metrics = metrics
        self._load = load
        self._judge = judge
        self._changing = asyncio.Lock()
        self._turn = asyncio.Lock()  # two loads at once would take the memory of two, and the line's time
        self._tasks: set[asyncio.Task[None]] = set()

    def to_serve(self) -> Path:
        """The folder to begin with; raises as `bundle_to_serve`."""
        return bundle_to_serve(self._settings, self.journal)

    def started(self, inspector: Inspector) -> None:
        """This is what judges from the start on."""
        served = Served(inspector, datetime.now(UTC), "start", By(), from_setting=True)
        for last in self.journal.changes[-1:]:
            if last.manifest_sha256 == inspector.bundle.manifest_sha256:  # the setting may name another now
                by = By(who=last.who, why=last.why)
                served = Served(inspector, last.when, last.how, by, from_setting=last.from_setting)
        self.journal.began_with(inspector.bundle)
        self._switch(served)

    def close(self) -> None:
        """Hold nothing any more."""
        self._let_go()
        self.active = self.previous = None

    @property
    def candidate(self) -> Candidate:
        """The candidate; raises CandidateNotFound."""
        if self._candidate is None:
            raise CandidateNotFound("there is no candidate; PUT /v1/bundles/candidate loads one")
        return self._candidate

    def check_is_candidate(self, candidate: Candidate) -> None:
        """Raise CandidateNotFound if it is not the one meant any more."""
        if self.candidate is not candidate:
            raise CandidateNotFound("another candidate has taken its place; read GET /v1/bundles again")

    async def propose(self, asked: CandidateAsked, by: By) -> Candidate:
        """Load a bundle aside in the place of the candidate there is; the same again only sets its shadow.

        Raises SwappingOff, BundleNotFound or BundleInUse.
        """
        bundle = BundleName(name=asked.name, version=asked.version)
        async with self._changing:
            place = await asyncio.to_thread(self.folder.find, bundle)
            if self.active is not None and name_of(self.active.inspector) == bundle:
                raise BundleInUse(f"bundle {bundle} is the one that judges already")
            candidate = self._candidate
            if candidate is None or candidate.bundle != bundle or candidate.state == "failed":
                candidate = self.load_aside(bundle, by, lambda: self._load(place))
            candidate.look(self._judge if asked.shadow else None)
            return candidate

    def load_aside(self, bundle: BundleName, by: By, way: Way) -> Candidate:
        """Get a candidate ready on a thread, in any way that gives an inspector of it, tested and warm.

        What was the candidate is let go. The way may as well give the bundle that judges in another session,
        such as on an execution provider that takes long to build.
        """
        self._let_go()
        self._candidate = Candidate(bundle, by, self._stage, self._metrics)
        self._begin(self._candidate.load(way, self._turn))
        return self._candidate

    async def drop(self, candidate: Candidate) -> None:
        """Let the candidate go; raises CandidateNotFound if it is not the one meant any more."""
        async with self._changing:
            self.check_is_candidate(candidate)
            self._let_go()

    async def promote(self, asked: Promote) -> Served:
        """Have the candidate judge from now on, and keep that; the bundle before stays in memory.

        Raises CandidateNotFound, CandidateNotReady, VersionStale (another candidate is meant, or another
        process changes bundles), RecipeInvalid or RecipeUnknown (recipes in force do not fit it), or
        StateNotWritable. Then nothing has changed.
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
        """Have the bundle before judge again; the one that judged is let go.

        It is done even where it cannot be kept: the way back from a bad bundle must not depend on a disk.
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
        """Have what `way` makes of the inspector that judges in its place: the same bundle, in a new session.

        Raises what `way` does. Where another bundle has taken over meanwhile, nothing changes.
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
        """A live image was judged: perhaps the candidate looks at it too."""
        if self._candidate is not None and self._candidate.shadow is not None:
            self._candidate.shadow.answered(job, answer)

    def _go_back_to(self, served: Served) -> bool:
        """Whether it could be kept, too."""
        change, kept = served.change(self.journal.next_number), True

        def keep() -> None:
            nonlocal kept
            kept = self.journal.try_to_keep(change)

        self._stage.serve(served.inspector, keep)
        return kept

    async def _keep_later(self, served: Served) -> None:
        """Try again for as long as it judges: the disk may be mended, or have room again."""
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

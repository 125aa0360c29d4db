"""A candidate bundle: tried in a process, loaded on a thread, and optionally run in shadow mode."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from app.bundles.shadow import LiveWork, Shadow
from app.bundles.trial import Trial
from app.change_errors import CandidateNotReady
from app.inspection.errors import BundleCorrupt, BundleInvalid, RecipeInvalid, RecipeUnknown
from app.inspection.inspector import Inspector
from app.jobs.job import Job
from app.problems import named
from app.recipes.state import Recipes, State
from app.schemas.bundles import BundleName, CandidateState
from app.schemas.inspections import Cause, InspectionAnswer
from app.schemas.recipes import By
from app.telemetry.metrics import Metrics

Way = Callable[[], Inspector]
Judge = Callable[[Job], InspectionAnswer]
log = logging.getLogger(__name__)


class Stage(LiveWork, Protocol):
    """The part of the service that inspects live images."""

    @property
    def recipes(self) -> Recipes | None:
        """The recipes for live images; None while no bundle is served."""

    def state_with(self, inspector: Inspector) -> State | None:
        """The state as it would be with `inspector` active; None while no bundle is served. Blocks.

        Raises RecipeInvalid or RecipeUnknown; `recipes.check` tests whether the recipes in force fit.
        """

    def serve(self, inspector: Inspector, keep: Callable[[], None]) -> None:
        """Make `inspector` active after `keep` has written that down; blocks.

        Raises RecipeInvalid or RecipeUnknown where recipes in force do not fit it, and what `keep` raises.
        """

    def switched(self) -> None:
        """Handle a change of the active inspector; called on the event loop."""


class Candidate:
    """A candidate bundle and its state; use it from one event loop only.

    `problem` is why loading failed. Only the text of an error is kept: its traceback would keep
    the loaded bundle in memory.
    """

    def __init__(self, bundle: BundleName, by: By, stage: Stage, metrics: Metrics) -> None:
        self.bundle = bundle
        self.by = by
        self.since = datetime.now(UTC)
        self.problem: Cause | None = None
        self.inspector: Inspector | None = None
        self.shadow: Shadow | None = None
        self._stage = stage
        self._metrics = metrics
        self._judge: Judge | None = None
        self._trial: Trial | None = None
        self._seen: tuple[Recipes | None, State | None] | None = None
        self._is_gone = False
        self._settled = asyncio.Event()

    @property
    def state(self) -> CandidateState:
        """Whether it can be promoted."""
        if self.problem is not None:
            return "failed"
        return "loading" if self.inspector is None else "ready"

    def ready(self) -> Inspector:
        """The loaded inspector; raises CandidateNotReady."""
        if self.inspector is not None:
            return self.inspector
        if self.problem is None:
            raise CandidateNotReady(
                f"bundle {self.bundle} is still loading; GET /v1/bundles/candidate tells when it is ready"
            )
        raise CandidateNotReady(f"bundle {self.bundle} failed: {self.problem.code}: {self.problem.detail}")

    async def wait(self, seconds: float) -> None:
        """Wait until loading has ended, at most `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._settled.wait()

    def fit(self) -> tuple[str | None, dict[str, str]]:
        """Why recipes in force prevent promotion (or None), and a reason per unfit recipe; blocks."""
        try:
            state = self._would_be()
            if state is None:
                return None, {}
            recipes = state.recipes
        except (RecipeInvalid, RecipeUnknown) as error:
            return str(error), {}
        reasons = {name: recipes.misfit(name) for name in recipes.names}
        misfits = {name: reason for name, reason in reasons.items() if reason is not None}
        try:
            recipes.check()
        except RecipeInvalid as error:
            return str(error), misfits
        return None, misfits

    async def load(self, way: Way, turn: asyncio.Lock, trial: Trial | None = None) -> None:
        """Load it on a thread when `turn` is free, after its `trial`; a failure affects only this candidate.

        The thread pauses regularly instead of running at a lower priority: a low-priority thread that
        waits for a core while it holds the GIL blocks the event loop. At nice 19 the longest wait
        tripled.
        """
        self._trial = trial
        async with turn:
            if self._is_gone:
                return
            (outcome,) = await asyncio.gather(asyncio.to_thread(self._tried, way), return_exceptions=True)
        if self._is_gone:
            return
        if isinstance(outcome, BaseException):
            error = named(outcome)
            self.problem = Cause(code=error.code, detail=str(error))
        else:
            self.inspector = outcome
            self.look(self._judge)
        self._settled.set()
        self._metrics.tried(self.state)
        about = {"code": self.problem.code, "reason": self.problem.detail} if self.problem else {}
        log.info("candidate", extra={"bundle": str(self.bundle), "state": self.state} | about)

    def look(self, judge: Judge | None) -> None:
        """Turn shadow mode on, with `judge` inspecting each live image; None turns it off."""
        self._judge = judge
        if judge is None:
            self._end_shadow()
        elif self.inspector is not None and self.shadow is None:
            self.shadow = Shadow(self.inspector, self._would_be, judge, self._stage, self._metrics)

    def let_go(self) -> None:
        """Unload the bundle, and end its trial and shadow mode."""
        self._settled.set()
        if self._trial is not None:
            self._trial.stop()
        self._is_gone = True
        self._end_shadow()
        self.inspector = None

    def _end_shadow(self) -> None:
        if self.shadow is not None:
            self.shadow.end()
        self.shadow = None

    def _tried(self, way: Way) -> Inspector:
        tried = None if self._trial is None else self._trial.run()
        inspector = way()
        if tried not in (None, inspector.bundle.manifest_sha256):
            raise BundleCorrupt(f"{inspector.bundle.directory} was changed while it was being loaded")
        found = name_of(inspector)
        if found != self.bundle:
            raise BundleInvalid(f"bundle.json says {found}, but its folder is {self.bundle}")
        state = self._stage.state_with(inspector)
        if state is not None:
            state.recipes.check()
        return inspector

    def _would_be(self) -> State | None:
        """The state with this candidate active; cached until recipes change: reading them is slow."""
        now, seen, inspector = self._stage.recipes, self._seen, self.inspector
        if inspector is None:
            return None
        if seen is None or seen[0] is not now:
            seen = self._seen = now, self._stage.state_with(inspector)
        return seen[1]


def name_of(inspector: Inspector) -> BundleName:
    """The name and version of an inspector's bundle."""
    return BundleName(name=inspector.bundle.name, version=inspector.bundle.version)

"""A lost execution provider: no image is inspected until a new session passes the self-test."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar
from weakref import WeakSet

from app.errors import NotReady
from app.inspection.errors import DeviceUnavailable, InferenceFailed, PasslineError
from app.inspection.inference.runtime import TENSORRT
from app.inspection.inference.session import OnnxSession
from app.inspection.inspector import Inspector
from app.problems import named
from app.settings import Settings

FAILURES = 3  # in a row: a GPU that is gone fails every run, an odd image only its own
WAITS_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)  # before each try; the last one repeats
T = TypeVar("T")
log = logging.getLogger(__name__)


class Recovery:
    """Counts consecutive failed model runs and renews the session after FAILURES of them.

    `active` returns the active inspector; `renew` replaces it, or raises the PasslineError that prevents
    it. Use it from one event loop only.
    """

    def __init__(self, active: Callable[[], Inspector | None], renew: Callable[[], Awaitable[None]]) -> None:
        self._active = active
        self._renew = renew
        self.failures = 0
        self._of: WeakSet[Inspector] = WeakSet()  # the one inspector whose failures are counted
        self._lost: WeakSet[Inspector] = WeakSet()
        self._cause: PasslineError | None = None
        self._task: asyncio.Task[None] | None = None

    def check(self, inspector: Inspector) -> None:
        """Raise NotReady if the inspector's provider is lost: its answers cannot be trusted."""
        if inspector in self._lost:
            raise NotReady(
                f"no image can be inspected: {FAILURES} consecutive model runs failed, and a new session has"
                f" not reproduced the golden samples yet: {self._cause}",
                self._cause,
            )

    async def watch(self, inspector: Inspector, run: Awaitable[T]) -> T:
        """Await an inspector's work; raises what it raises, and NotReady as `check` does."""
        try:
            done = await run
        except InferenceFailed as error:
            self._failed(inspector, error)
            raise
        self.check(inspector)
        self.failures = 0
        return done

    def resume(self) -> None:
        """Renew the newly active inspector if it was lost before and its recovery had stopped."""
        if self._active_is_lost() and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._until_renewed())

    async def close(self) -> None:
        """Stop trying to renew the session."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    def _failed(self, inspector: Inspector, error: InferenceFailed) -> None:
        if inspector in self._lost:
            return
        if inspector not in self._of:
            self._of, self.failures = WeakSet((inspector,)), 0
        self.failures += 1
        if self.failures >= FAILURES:
            log.error("not ready", extra={"code": error.code, "reason": str(error)})
            self._lost.add(inspector)
            self._cause = error
            if self._task is not None:
                self._task.cancel()
            self._task = asyncio.create_task(self._until_renewed())

    def _active_is_lost(self) -> bool:
        return self._active() in self._lost

    async def _until_renewed(self) -> None:
        tries = 0
        while self._active_is_lost():
            await asyncio.sleep(WAITS_S[min(tries, len(WAITS_S) - 1)])
            if not self._active_is_lost():  # another bundle is active now, and needs no new session
                break
            tries += 1
            try:
                await self._renew()
            except Exception as error:  # noqa: BLE001  # whatever it is, the next try may succeed
                self._cause = named(error)
                log.error("still not ready", extra={"code": self._cause.code, "reason": str(error)})
        self.failures = 0
        log.info("ready again", extra={"tries": tries})


def renewed(lost: Inspector, settings: Settings) -> Inspector:
    """The same bundle on a new session of the same provider, self-tested; raises a PasslineError.

    Another provider would need another artifact with its own thresholds, or be too slow for the line.
    An operator decides on such a change, by a restart.
    """
    was = lost.session.execution_provider
    engines = settings.engines if was == TENSORRT else None  # one may have been built meanwhile
    session = OnnxSession(lost.bundle, settings.device, settings.threads, engines=engines)
    if session.execution_provider != was:
        raise DeviceUnavailable(
            f"{was} does not come up again, only {session.execution_provider} does; repair driver and device,"
            " or restart to continue with what is available"
        )
    inspector = Inspector(lost.bundle, session, lost.limits)
    inspector.self_test()
    return inspector

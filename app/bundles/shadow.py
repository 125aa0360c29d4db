"""Shadow mode: a candidate inspects live images too; callers never see its verdicts.

It inspects one image at a time, starts only while the service is idle, and stops when a live image
waits.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal, Protocol

from app.inspection.cancellation import Cancellation
from app.inspection.inspector import Inspector
from app.jobs.job import Job
from app.problems import named
from app.recipes.state import State
from app.schemas.bundles import Disagreement, ShadowCounts, Side
from app.schemas.inspections import InspectionAnswer, Labels, Options
from app.telemetry.metrics import REQUEST_ID, Metrics

AFTER_ANSWER_S = 0.02  # the answer is written out first
MOST_LISTED = 200
Outcome = Literal["judged", "dropped", "failed"]
log = logging.getLogger(__name__)


class LiveWork(Protocol):
    """How busy the live images keep the service; any thread may ask."""

    @property
    def is_idle(self) -> bool:
        """Whether no live image is being inspected or waiting."""

    @property
    def is_waited_for(self) -> bool:
        """Whether a live image waits."""

    def disagreed(self, id: str) -> None:
        """Ask people to look at the inspection with this id, of which a candidate disagrees; blocks."""


class LiveFirst(Exception):
    """A live image waits, so the shadow inspection is abandoned."""


class WhileIdle(Cancellation):
    """Ends an inspection in shadow mode, whose verdict is only compared and counted, with LiveFirst."""

    def __init__(self, give_up: Callable[[], bool]) -> None:
        super().__init__(error=LiveFirst)
        self._give_up = give_up

    @property
    def is_over(self) -> bool:
        """Whether a live image needs the thread."""
        return self._give_up()


class Shadow:
    """Compares a candidate with the active bundle; use it from one event loop only."""

    def __init__(
        self,
        inspector: Inspector,
        would_be: Callable[[], State | None],
        judge: Callable[[Job], InspectionAnswer],
        live: LiveWork,
        metrics: Metrics,
    ) -> None:
        """`would_be` returns the state with the candidate active; it is called on a thread."""
        self._inspector = inspector
        self._would_be = would_be
        self._judge = judge
        self._live = live
        self._metrics = metrics
        self._task: asyncio.Task[None] | None = None
        self._is_over = False
        self._outcomes: Counter[Outcome] = Counter()
        self._kinds: Counter[str] = Counter()
        self.latest: deque[Disagreement] = deque(maxlen=MOST_LISTED)

    @property
    def counts(self) -> ShadowCounts:
        """Numbers of images by outcome, and of disagreements by kind, so far."""
        judged, dropped, failed = (self._outcomes[each] for each in ("judged", "dropped", "failed"))
        return ShadowCounts(judged=judged, dropped=dropped, failed=failed, disagreements=dict(self._kinds))

    def answered(self, job: Job, answer: InspectionAnswer) -> None:
        """Inspect a live image in shadow mode if the service is idle; only then are its bytes kept."""
        if self._task is not None or not self._live.is_idle:
            return self._count("dropped")
        self._task = asyncio.create_task(self._look(job, answer))
        return None

    def end(self) -> None:
        """End shadow mode and abandon the image in progress."""
        self._is_over = True
        if self._task is not None:
            self._task.cancel()

    async def _look(self, job: Job, answer: InspectionAnswer) -> None:
        try:
            await asyncio.sleep(AFTER_ANSWER_S)
            if not self._live.is_idle:
                return self._count("dropped")
            # a failure here must not affect live inspections
            (outcome,) = await asyncio.gather(asyncio.to_thread(self._judged, job), return_exceptions=True)
            if isinstance(outcome, InspectionAnswer):
                self._count("judged")
                if self._compare(answer, outcome):
                    await asyncio.to_thread(self._live.disagreed, answer.id)
            elif isinstance(outcome, LiveFirst):
                self._count("dropped")
            else:
                self._count("failed")
                error = named(outcome)
                log.warning("shadow failed", extra={"code": error.code, "reason": str(error)})
        finally:
            self._task = None
        return None

    def _judged(self, job: Job) -> InspectionAnswer:
        state = self._would_be()
        if state is None:
            raise LiveFirst  # unloaded meanwhile
        chosen = state.recipes.choose(job.options)
        labels = job.options.model_dump(include=set(Labels.model_fields))
        return self._judge(
            Job(
                self._inspector,
                chosen.recipe,
                replace(job.upload, reference_mask=None),
                Options(mask="none", **labels),
                recipe_version=chosen.version,
                cancellation=WhileIdle(lambda: self._is_over or self._live.is_waited_for),
            )
        )

    def _count(self, outcome: Outcome) -> None:
        self._outcomes[outcome] += 1
        self._metrics.shadowed(outcome)

    def _compare(self, active: InspectionAnswer, candidate: InspectionAnswer) -> bool:
        """Note a disagreement; returns whether there is one."""
        if active.verdict == candidate.verdict:
            return False
        kind = f"{active.verdict}_to_{candidate.verdict}"
        self._kinds[kind] += 1
        self._metrics.disagreed(kind)
        found = Disagreement(
            when=datetime.now(UTC),
            kind=kind,
            request_id=REQUEST_ID.get(),
            inspection_id=active.id,
            image_sha256=active.image.sha256,
            part_id=active.part_id,
            camera_id=active.camera_id,
            active=_side(active),
            candidate=_side(candidate),
        )
        self.latest.appendleft(found)
        about = found.model_dump(
            mode="json", include={"inspection_id", "image_sha256", "part_id", "camera_id"}
        )
        log.info("shadow disagrees", extra=about | {"kind": kind})
        return True


def _side(answer: InspectionAnswer) -> Side:
    return Side(
        name=answer.model.name,
        version=answer.model.version,
        verdict=answer.verdict,
        reasons=answer.reasons,
        recipe=answer.recipe,
        recipe_version=answer.recipe_version,
    )

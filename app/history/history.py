"""The history of one service: recorder, writer, files and queries, by its settings."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from app.database.connection import Database
from app.database.errors import DatabaseUnusable
from app.history.errors import HistoryOff, ImageNotKept
from app.history.files import ImageFiles
from app.history.idempotency import FirstAnswers
from app.history.objects import files_of
from app.history.pruner import Pruner
from app.history.queue_reasons import SampleRates
from app.history.record import Record, Recorder
from app.history.retention import Limits, Retention
from app.history.reviews import Reviews
from app.history.store import HistoryStore
from app.history.writer import Writer
from app.settings import Settings

WAITING_ASYNC = 1000  # records that may wait for the database where nobody waits for them
log = logging.getLogger(__name__)


class History:
    """What a service keeps of its inspections; made once its database is open."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.database = database
        self.files: ImageFiles = files_of(settings)
        self.store = HistoryStore(database)
        self.reviews = Reviews(database, self.files, self.store)
        self.first_answers = FirstAnswers(database, settings.idempotency_s)
        self._waits = settings.history == "sync"
        self.recorder: Recorder | None = None  # None: nothing is kept
        self.writer: Writer | None = None
        self.retention = Retention(database, self.files, settings.data_dir, limits_of(settings))
        self._pruner: Pruner | None = None
        self.lost = 0  # records that could not be stored, in mode async
        if settings.history != "off":
            rates = SampleRates(settings.sample_pass_rate, settings.sample_fail_rate)
            self.recorder = Recorder(self.files, settings.keep_images, settings.keep_every_pass, rates)
            waiting = max(settings.queue_size, 64) if self._waits else WAITING_ASYNC
            self.writer = Writer(database, settings.box, waiting)
            self._pruner = Pruner(self.retention, settings.box)

    @property
    def error(self) -> str | None:
        """Why the last inspections could not be stored; None if they were."""
        return None if self.writer is None else self.writer.error

    async def keep(self, record: Record | None) -> None:
        """Store a record; in mode sync this returns once it is committed.

        Raises DatabaseUnusable in that mode; in mode async a record that cannot be stored is counted.
        """
        if record is None or self.writer is None:
            return
        if self._waits:
            try:
                await asyncio.shield(asyncio.wrap_future(self.writer.keep(record)))
            except DatabaseUnusable:
                await asyncio.to_thread(self._forget, record)
                raise
            return
        try:
            self.writer.keep(record).add_done_callback(self._count_loss)
        except DatabaseUnusable as error:
            self.lost += 1
            log.error("an inspection is not stored", extra={"code": error.code, "reason": str(error)})

    def image(self, id: str) -> tuple[str, bytes]:
        """Name and content of an inspection's image; raises InspectionNotFound or ImageNotKept."""
        return self._file(id, "image_file")

    def mask(self, id: str) -> tuple[str, bytes] | None:
        """Name and content of its label map (PNG); None if it has no defect, so all of it is zero.

        Raises InspectionNotFound or ImageNotKept.
        """
        columns = self.store.columns(id)
        if columns["image_file"] is not None and columns["mask_file"] is None:
            return None
        return self._file(id, "mask_file")

    def close(self) -> None:
        """End retention, and write what waits; blocks."""
        if self._pruner is not None:
            self._pruner.close()
        if self.writer is not None:
            self.writer.close()

    def check_on(self) -> None:
        """Raise HistoryOff if nothing is kept here."""
        if self.writer is None:
            raise HistoryOff("no history is kept here (PASSLINE_HISTORY=off)")

    def _file(self, id: str, column: str) -> tuple[str, bytes]:
        name = self.store.columns(id)[column]
        content = None if name is None else self.files.get(name)
        if content is None:
            raise ImageNotKept(f"the image of inspection {id} is not kept, or no more")
        return Path(name).name, content

    def _forget(self, record: Record) -> None:
        if self.recorder is not None:
            self.recorder.forget(record)

    def _count_loss(self, stored: "Future[int]") -> None:
        self.lost += stored.exception() is not None


def limits_of(settings: Settings) -> Limits:
    """What retention keeps."""
    return Limits(
        settings.retention_days_pass,
        settings.retention_days_fail,
        settings.retention_days_rows,
        settings.retention_max_bytes,
        settings.retention_min_free_bytes,
    )


def watch_history(
    watch: Callable[[str, str, Callable[[], float]], None], history: Callable[[], History | None]
) -> None:
    """Register the metrics of a history that may not be there yet."""

    def failing() -> float:
        found = history()
        return float(found is not None and found.error is not None)

    def lost() -> float:
        found = history()
        return 0 if found is None else found.lost

    watch("history_failing", "1 while inspections cannot be stored, else 0.", failing)

    def deleted(what: str) -> float:
        found = history()
        return 0 if found is None else getattr(found.retention.deleted, what)

    watch("history_deleted_images", "Images deleted by retention.", lambda: deleted("images"))
    watch("history_deleted_rows", "Rows deleted by retention.", lambda: deleted("rows"))
    watch("history_lost", "Inspections not stored, in mode async.", lost)

"""The thread that runs retention beside the service."""

import logging
import threading
import time

from app.database.errors import DatabaseUnusable
from app.history.retention import Retention

INTERVAL_S = 10.0  # at 50 images of 1 MB each second, half of the default least free disk
REST = 4  # pause after each step, relative to the time it took
log = logging.getLogger(__name__)


class Pruner:
    """Runs retention every few seconds, with pauses in which the writer has the database for itself."""

    def __init__(self, retention: Retention, box: str | None) -> None:
        self._retention = retention
        self._box = box
        self._ended = threading.Event()
        self._since = 0.0
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End after the step in work; blocks."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            self._since = time.perf_counter()
            try:
                self._retention.run(self._box, self._rest)
            except DatabaseUnusable as error:
                log.error("retention failed", extra={"code": error.code, "reason": str(error)})

    def _rest(self) -> bool:
        ended = self._ended.wait(REST * (time.perf_counter() - self._since))
        self._since = time.perf_counter()
        return not ended

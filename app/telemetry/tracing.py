"""Traces: where no collector is named nothing is made of them, and no package of theirs is imported."""

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from app.schemas.inspections import InspectionAnswer

Scope = MutableMapping[str, Any]  # of an ASGI request
Ended = Callable[[str, int], None]  # told a request's route and status once it is over


class Traces:
    """No traces; `app.telemetry.otel` has those that go to a collector."""

    @contextmanager
    def request(self, scope: Scope, request_id: str) -> Iterator[Ended]:
        """Inside of it a request is served."""
        yield lambda route, status: None

    def inspected(self, answer: InspectionAnswer) -> None:
        """A picture of the request was judged just now."""

    def stop(self) -> None:
        """Send what is left, in bounded time."""


OFF = Traces()

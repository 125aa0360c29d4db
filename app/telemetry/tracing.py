"""Traces: where no collector is named nothing is made of them, and no package of theirs is imported."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.types import Scope

from app.schemas.inspections import InspectionAnswer
from app.settings import PackageMissing

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


def traces_to(endpoint: str | None) -> Traces:
    """Traces to the OTLP collector at this address; raises PackageMissing where its package is not there."""
    if endpoint is None:
        return OFF
    try:
        from app.telemetry.otel import collected

        return collected(endpoint)
    except ImportError as error:
        raise PackageMissing(
            f"PASSLINE_OTLP_ENDPOINT is set, but {error.name} is not installed; install passline[otel] or"
            " unset the variable"
        ) from error

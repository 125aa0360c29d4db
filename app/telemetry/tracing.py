"""OpenTelemetry spans: FastAPI makes one for each request, and below it are inspections with their steps."""

import logging
import os
import threading
import time
from collections.abc import Callable

from opentelemetry.trace import NoOpTracerProvider, TracerProvider, set_span_in_context

from app.schemas.inspections import InspectionAnswer
from app.settings import PackageMissing

PATH = "/v1/traces"
PATIENCE_S = 2.0  # with a collector that does not answer, also at the end


class Traces:
    """Spans of inspections, made by `provider`; `shutdown` sends what it has left."""

    def __init__(self, provider: TracerProvider, shutdown: Callable[[], None] | None = None) -> None:
        self.provider = provider
        self._shutdown = shutdown
        self._tracer = provider.get_tracer("passline")

    def inspected(self, answer: InspectionAnswer) -> None:
        """The spans of an inspection that ended just now; its steps follow each other as they were timed."""
        took = {step: int(ms * 1e6) for step, ms in answer.timings_ms.items()}
        ended = time.time_ns()
        at = ended - took.pop("total")
        about = {
            "passline.inspection_id": answer.id,
            "passline.verdict": answer.verdict,
            "passline.recipe": answer.recipe,
            "passline.camera_id": answer.camera_id or "",
            "passline.part_id": answer.part_id or "",
        }
        inspection = self._tracer.start_span("inspection", attributes=about, start_time=at)
        within = set_span_in_context(inspection)
        for step in sorted(took, key=lambda step: step != "queue"):  # it is told last and was first
            span = self._tracer.start_span(step, within, start_time=at)
            at += took[step]
            span.end(at)
        inspection.end(ended)

    def stop(self) -> None:
        """Send what is left, if the collector takes it soon."""
        if self._shutdown is not None:
            last = threading.Thread(target=self._shutdown, daemon=True)
            last.start()
            last.join(PATIENCE_S)


OFF = Traces(NoOpTracerProvider())


def traces_to(endpoint: str | None) -> Traces:
    """Traces to the OTLP collector at this address, in batches; none without an address.

    Raises PackageMissing where the SDK or its exporter, which are in an extra, are not installed.
    """
    if endpoint is None:
        return OFF
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise PackageMissing(
            f"PASSLINE_OTLP_ENDPOINT is set, but {error.name} is not installed; install passline[otel] or"
            " unset the variable"
        ) from error
    name = os.environ.get("OTEL_SERVICE_NAME", "passline")
    provider = TracerProvider(resource=Resource.create({"service.name": name}), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint.rstrip("/") + PATH, timeout=PATIENCE_S)
    logging.getLogger("opentelemetry.sdk").setLevel(logging.ERROR)  # else a line for each span without room
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Traces(provider, provider.shutdown)

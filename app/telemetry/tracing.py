"""OpenTelemetry spans: one per request, made by FastAPI, with inspections and their steps below it."""

import logging
import os
import threading
import time
from collections.abc import Callable

from opentelemetry.trace import NoOpTracerProvider, TracerProvider, set_span_in_context

from app.schemas.inspections import InspectionAnswer
from app.settings import PackageMissing

PATH = "/v1/traces"
PATIENCE_S = 2.0  # to wait for a collector that does not answer, also at shutdown


class Traces:
    """Makes the spans of inspections with `provider`; `shutdown` sends the remaining ones."""

    def __init__(self, provider: TracerProvider, shutdown: Callable[[], None] | None = None) -> None:
        self.provider = provider
        self._shutdown = shutdown
        self._tracer = provider.get_tracer("passline")

    def inspected(self, answer: InspectionAnswer) -> None:
        """Make the spans of an inspection that has just ended; its steps follow one another."""
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
        for step in sorted(took, key=lambda step: step != "queue"):  # listed last, but came first
            span = self._tracer.start_span(step, within, start_time=at)
            at += took[step]
            span.end(at)
        inspection.end(ended)

    def stop(self) -> None:
        """Send the remaining spans; gives up after PATIENCE_S."""
        if self._shutdown is not None:
            last = threading.Thread(target=self._shutdown, daemon=True)
            last.start()
            last.join(PATIENCE_S)


OFF = Traces(NoOpTracerProvider())


def traces_to(endpoint: str | None) -> Traces:
    """Traces to the OTLP collector at this address, in batches; none without an address.

    Raises PackageMissing if the SDK or its exporter (extra `otel`) is not installed.
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
    logging.getLogger("opentelemetry.sdk").setLevel(
        logging.ERROR
    )  # else one line for each span that does not fit
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Traces(provider, provider.shutdown)

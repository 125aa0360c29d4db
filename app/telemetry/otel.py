"""OpenTelemetry spans: one for each request, below it one for each inspection, below that its steps."""

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, format_trace_id, set_span_in_context, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.schemas.inspections import InspectionAnswer
from app.telemetry.metrics import TRACE_ID
from app.telemetry.tracing import Ended, Scope, Traces

PATH = "/v1/traces"
PATIENCE_S = 2.0  # with a collector that does not answer, also at the end
_CALLER = TraceContextTextMapPropagator()


class Spans(Traces):
    """Makes spans of requests, as part of the caller's trace where its `traceparent` names one."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("passline")

    @contextmanager
    def request(self, scope: Scope, request_id: str) -> Iterator[Ended]:
        """The span of a request, which is the current one inside; log lines there carry its trace's id."""
        lines = reversed(scope["headers"])  # of a header given twice the first counts
        caller = _CALLER.extract({name.decode("latin-1"): each.decode("latin-1") for name, each in lines})
        method = scope["method"]
        about = {"http.request.method": method, "url.path": scope["path"], "passline.request_id": request_id}
        span = self._tracer.start_span(method, caller, SpanKind.SERVER, about)
        token = TRACE_ID.set(format_trace_id(span.get_span_context().trace_id))

        def ended(route: str, status: int) -> None:
            span.update_name(f"{method} {route}")
            span.set_attributes({"http.route": route, "http.response.status_code": status})
            if status >= 500:
                span.set_status(StatusCode.ERROR)
            span.end()

        with use_span(span, record_exception=False, set_status_on_exception=False):
            try:
                yield ended
            finally:
                TRACE_ID.reset(token)

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
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(PATIENCE_S)


def collected(endpoint: str) -> Spans:
    """Spans that are sent to a collector in batches, by a thread of their own; raises ImportError."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    name = os.environ.get("OTEL_SERVICE_NAME", "passline")
    provider = TracerProvider(resource=Resource.create({"service.name": name}), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint.rstrip("/") + PATH, timeout=PATIENCE_S)
    logging.getLogger("opentelemetry.sdk").setLevel(logging.ERROR)  # else a line for each span without room
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Spans(provider)

"""Logs as JSON lines on stdout, and Prometheus metrics in a registry of each app's own."""

import json
import logging
import sys
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)

from app.schemas import InspectionAnswer, ModelUsed, Problem

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="none")

DURATIONS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message", "taskName"}

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series beside every one


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, request_id, and whatever `extra` adds."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": REQUEST_ID.get(),
        }
        line |= {key: value for key, value in record.__dict__.items() if key not in _OWN}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logging(level: str) -> None:
    """Send every logger of the process, uvicorn's too, to stdout as JSON lines."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.getLogger("PIL").setLevel(logging.INFO)  # at debug it logs every chunk of every picture


class Metrics:
    """The service's metrics. Labels come only from small, known sets: never from what a client sends."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        self._inspections = Counter(
            "passline_inspections", "Pictures judged.", ["verdict", "recipe"], registry=own
        )
        self._errors = Counter("passline_errors", "Problems answered.", ["code"], registry=own)
        self._requests = Counter(
            "passline_http_requests", "Requests; 499: the client left.", ["route", "status"], registry=own
        )
        self._request_seconds = Histogram(
            "passline_http_request_seconds",
            "Request to answer.",
            ["route"],
            buckets=DURATIONS_S,
            registry=own,
        )
        self._step_seconds = Histogram(
            "passline_step_seconds", "Each step of inspections.", ["step"], buckets=DURATIONS_S, registry=own
        )
        self._ready = Gauge("passline_ready", "1 while pictures are judged, else 0.", registry=own)
        self._model = Info("passline_model", "Bundle, artifact and execution provider in use.", registry=own)

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show a value as it is whenever the metrics are read."""
        Gauge(f"passline_{name}", text, registry=self.registry).set_function(value)

    def ready(self, model: ModelUsed) -> None:
        """The service has become ready with this model."""
        self._ready.set(1)
        described = model.model_dump()
        self._model.info({"bundle": described.pop("name"), **described})

    def stopped(self) -> None:
        """The service judges no more pictures."""
        self._ready.set(0)

    def inspected(self, answer: InspectionAnswer) -> None:
        """A picture was judged; its recipe is one the service knows, so the label stays bounded."""
        self._inspections.labels(answer.verdict, answer.recipe).inc()
        for step, milliseconds in answer.timings_ms.items():
            self._step_seconds.labels(step).observe(milliseconds / 1000)

    def refused(self, problem: Problem) -> None:
        """A problem was answered, for a request or for one picture of a batch."""
        self._errors.labels(problem.code).inc()

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A request is over; `route` is the route's template, not the address asked for."""
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

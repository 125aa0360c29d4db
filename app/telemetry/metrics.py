"""Logs as JSON lines on stdout, and Prometheus metrics in a separate registry for each app."""

import errno
import json
import logging
import os
import stat
import sys
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path

from opentelemetry.trace import format_trace_id, get_current_span
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from app.inspection.bundle.artifact import Gate
from app.schemas.inspections import InspectionAnswer, ModelUsed, PartAnswer, Problem
from app.telemetry.drift import CameraMetrics

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="none")
KEY_NAME: ContextVar[str | None] = ContextVar("key_name", default=None)  # never the token

TASKS = Path("/proc/self/task")  # one entry per thread, including ONNX Runtime's
DURATIONS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message", "taskName"}


class Stdout:
    """A log handler's stream without Python's buffers: a line is written whole or not at all.

    Only a full file system can cut off a line; then the next one starts on a new line.
    """

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self._cut_off = False

    def write(self, text: str) -> None:
        """Write a line; raises OSError if it cannot be written at once."""
        if self._fd is None:
            raise OSError(errno.EBADF, "stdout is closed")
        data = ("\n" * self._cut_off + text).encode("utf-8", "backslashreplace")
        written = os.write(self._fd, data)
        self._cut_off = 0 < written < len(data)
        if written < len(data):
            raise OSError(errno.ENOSPC, "the line was cut off")

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""


class LineHandler(logging.StreamHandler[Stdout]):
    """Writes lines; `lost` is how many could not be written, in the whole process."""

    lost = 0

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the standard library's name
        """Count the line as lost: inspecting parts is more important than logging."""
        LineHandler.lost += 1


def unwaited() -> Stdout:
    """The process's stdout without blocking: a full pipe without a reader would stop the production line.

    Stderr is made non-blocking as well, because ONNX Runtime writes to it.
    """
    fds = [None if stream is None else stream.fileno() for stream in (sys.stdout, sys.stderr)]
    for fd in fds:
        if fd is not None and stat.S_ISFIFO(os.fstat(fd).st_mode):  # None: closed before the process started
            os.set_blocking(fd, False)
    return Stdout(fds[0])


disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the series


class JsonLines(logging.Formatter):
    """One JSON object per line: time (UTC), level, logger, message, request_id, and the fields of `extra`.

    With traces, a request's lines have its trace_id; with an API key, the key's name.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": REQUEST_ID.get(),
        }
        if (span := get_current_span().get_span_context()).is_valid:
            line["trace_id"] = format_trace_id(span.trace_id)
        if (key := KEY_NAME.get()) is not None:
            line["key"] = key
        line |= {key: value for key, value in record.__dict__.items() if key not in _OWN}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logging(level: str) -> None:
    """Send all logs of the process, including uvicorn's, to stdout as JSON lines."""
    handler = LineHandler(unwaited())
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.getLogger("PIL").setLevel(logging.INFO)  # at debug it logs every chunk of every image


class Metrics:
    """The service's metrics. Labels have few values; only some of the cameras get their own.

    `cameras` is how many, `window` the size of each one's drift window, in images.
    """

    def __init__(self, cameras: int, window: int) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        self._by_camera = CameraMetrics(own, cameras, window)
        self._inspections = Counter(
            "passline_inspections", "Images inspected.", ["verdict", "recipe"], registry=own
        )
        self._reasons = Counter(
            "passline_reasons", "Images with a reason by the rule.", ["rule"], registry=own
        )
        self._parts = Counter(
            "passline_parts", "Parts inspected, of several images each.", ["verdict", "rule"], registry=own
        )
        self._errors = Counter("passline_errors", "Problems answered.", ["code"], registry=own)
        self._changes = Counter(
            "passline_recipe_changes", "Changes of recipes or activations.", ["kind"], registry=own
        )
        self._swaps = Counter("passline_bundle_changes", "Promotions and rollbacks.", ["how"], registry=own)
        self._candidates = Counter(
            "passline_candidates", "Candidate bundles loaded, by result.", ["state"], registry=own
        )
        self._shadowed = Counter(
            "passline_shadow_pictures", "Live images for a candidate in shadow.", ["outcome"], registry=own
        )
        self._disagreements = Counter(
            "passline_shadow_disagreements",
            "Live images with another verdict by the candidate.",
            ["kind"],
            registry=own,
        )
        self._requests = Counter(
            "passline_http_requests", "Requests; 499: the client left.", ["route", "status"], registry=own
        )
        self._received = Counter(
            "passline_http_received_bytes", "Bytes of requests' bodies.", ["route"], registry=own
        )
        self._in_progress = Gauge(
            "passline_http_requests_in_progress", "Requests not answered yet.", registry=own
        )
        self._request_seconds = Histogram(
            "passline_http_request_seconds",
            "Time from request to answer.",
            ["route"],
            buckets=DURATIONS_S,
            registry=own,
        )
        self._step_seconds = Histogram(
            "passline_step_seconds",
            "Time of each inspection step.",
            ["step"],
            buckets=DURATIONS_S,
            registry=own,
        )
        self._model = Info("passline_model", "Bundle, artifact and execution provider in use.", registry=own)
        self.watch("log_lines_lost", "Log lines that could not be written.", lambda: LineHandler.lost)
        self.watch("threads", "Threads of the process.", lambda: len(list(TASKS.iterdir())))
        ProcessCollector(registry=own)

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a gauge whose value is read whenever the metrics are."""
        Gauge(f"passline_{name}", text, registry=self.registry).set_function(value)

    def loaded(self, model: ModelUsed, gate: Gate | None) -> None:
        """Show the model in use; `gate` describes its training images."""
        self._by_camera.expect(model, gate)
        described = model.model_dump()
        self._model.info({"bundle": described.pop("name"), **described})

    def inspected(self, answer: InspectionAnswer) -> None:
        """Count an inspected image; its recipe is one the service knows, so the label stays bounded."""
        self._inspections.labels(answer.verdict, answer.recipe).inc()
        self._by_camera.inspected(answer)
        for rule in {reason.rule for reason in answer.reasons}:
            self._reasons.labels(rule).inc()
        for step, milliseconds in answer.timings_ms.items():
            self._step_seconds.labels(step).observe(milliseconds / 1000)

    def part_inspected(self, answer: PartAnswer) -> None:
        """Count an inspected part; its images have been counted."""
        self._parts.labels(answer.verdict, answer.rule).inc()

    def foresee(self, codes: Iterable[str]) -> None:
        """Show these problems as 0 from the start: a series that starts with 1 shows no increase."""
        for code in codes:
            self._errors.labels(code)

    def refused(self, problem: Problem) -> None:
        """Count a problem, of a request or of one image of a batch."""
        self._errors.labels(problem.code).inc()

    def changed(self, kind: str) -> None:
        """Count a new version; `kind` says whether of a recipe or of the activations."""
        self._changes.labels(kind).inc()

    def forget_recipe(self, name: str) -> None:
        """Remove the series of a deleted recipe."""
        self._inspections.remove_by_labels({"recipe": name})

    def swapped(self, how: str) -> None:
        """Count a promotion or rollback."""
        self._swaps.labels(how).inc()

    def tried(self, state: str) -> None:
        """Count a candidate that is ready or failed."""
        self._candidates.labels(state).inc()

    def shadowed(self, outcome: str) -> None:
        """Count a live image for the candidate in shadow."""
        self._shadowed.labels(outcome).inc()

    def disagreed(self, kind: str) -> None:
        """Count a live image with another verdict by the candidate; `kind` names both verdicts."""
        self._disagreements.labels(kind).inc()

    def arrived(self) -> None:
        """Count a request in progress."""
        self._in_progress.inc()

    def answered(self, route: str, status: int, seconds: float, received: int) -> None:
        """Count an answered request; `route` is the route's template, not the address requested."""
        self._in_progress.dec()
        self._received.labels(route).inc(received)
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        self._by_camera.forget_idle()
        return generate_latest(self.registry)

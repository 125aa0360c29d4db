"""Traces: spans of requests, inspections and steps, within the caller's trace; none unless asked for."""

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import PackageMissing, Settings
from app.telemetry.metrics import JsonLines
from app.telemetry.tracing import PATIENCE_S, Traces
from tests.app.test_batch import batch
from tests.app.test_inspections import post
from tests.local_client import LocalClient
from tests.markdown import ROOT
from tests.serving import environment

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
STEPS = ["queue", "decode", "preprocess", "inference", "mask", "measure", "verdict", "encode"]
EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


@pytest.fixture(scope="module")
def memory() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture(scope="module")
def traced(bundle_dir: Path, memory: InMemorySpanExporter) -> Iterator[TestClient]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    with LocalClient(create_app(Settings(bundle_dir=bundle_dir, threads=1), Traces(provider))) as client:
        yield client


@pytest.fixture(autouse=True)
def _forget(memory: InMemorySpanExporter) -> None:
    memory.clear()


def times(span: ReadableSpan) -> tuple[int, int]:
    assert span.start_time is not None
    assert span.end_time is not None
    return span.start_time, span.end_time


def below(spans: tuple[ReadableSpan, ...], parent: ReadableSpan) -> list[ReadableSpan]:
    """A span's children, in the order of their times."""
    assert parent.context is not None
    found = [
        each for each in spans if each.parent is not None and each.parent.span_id == parent.context.span_id
    ]
    return sorted(found, key=times)


def test_a_request_is_a_span_of_the_callers_trace_with_its_steps_below(
    traced: TestClient, memory: InMemorySpanExporter, dark: bytes
) -> None:
    response = traced.post(
        "/v1/inspections?camera_id=top",
        files={"image": dark},
        headers={"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-ID": "line-1"},
    )
    spans = memory.get_finished_spans()
    assert {format(each.context.trace_id, "032x") for each in spans if each.context} == {TRACE}
    (request,) = (each for each in spans if each.name == "POST /v1/inspections")
    assert request.parent is not None
    assert format(request.parent.span_id, "016x") == PARENT
    assert request.kind is SpanKind.SERVER
    assert dict(request.attributes or {}) == {
        "http.request.method": "POST",
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": 80,
        "url.scheme": "http",
        "url.path": "/v1/inspections",
        "url.query": "camera_id=top",
        "http.route": "/v1/inspections",
        "http.response.status_code": 200,
        "passline.request_id": "line-1",
    }
    (inspection,) = below(spans, request)
    answer = response.json()
    assert inspection.name == "inspection"
    about = dict(inspection.attributes or {})
    assert (about["passline.inspection_id"], about["passline.verdict"]) == (answer["id"], "fail")
    assert about["passline.camera_id"] == "top"
    steps = below(spans, inspection)
    assert [each.name for each in steps] == STEPS
    begun, ended = times(inspection)
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        first, last = times(step)
        assert last - first == pytest.approx(answer["timings_ms"][step.name] * 1e6, abs=2)
        assert last == (times(following)[0] if following else last)
        assert begun <= first <= last <= ended + len(STEPS)


def test_each_picture_of_a_batch_has_a_span_and_a_problem_has_its_status(
    traced: TestClient, memory: InMemorySpanExporter, dark: bytes, clean: bytes
) -> None:
    batch(traced, [dark, b"", clean])
    traced.post("/v1/inspections", files={"image": b""})
    spans = memory.get_finished_spans()
    (many,) = (each for each in spans if each.name == "POST /v1/inspections/batch")
    verdicts = [(each.attributes or {})["passline.verdict"] for each in below(spans, many)]
    assert sorted(map(str, verdicts)) == ["fail", "pass"]
    (one,) = (each for each in spans if each.name == "POST /v1/inspections")
    assert (one.attributes or {})["http.response.status_code"] == 400
    assert one.status.status_code is StatusCode.UNSET  # the caller's fault, not ours
    assert below(spans, one) == []
    assert one.context is not None
    assert many.context is not None
    assert one.context.trace_id != many.context.trace_id


def test_a_fault_of_ours_is_an_error_and_probes_leave_no_trace(
    bundle_dir: Path, memory: InMemorySpanExporter, clean: bytes
) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    early = LocalClient(create_app(Settings(bundle_dir=bundle_dir), Traces(provider)))
    for path in ("/healthz", "/readyz", "/metrics"):
        early.get(path)
    assert memory.get_finished_spans() == ()
    assert early.post("/v1/inspections", files={"image": clean}).status_code == 503  # nobody has started it
    (span,) = memory.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR


def test_lines_of_the_log_carry_the_trace(
    traced: TestClient, dark: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Kept()
    handler.setFormatter(JsonLines())
    with caplog.at_level(logging.INFO):
        logging.getLogger("app").addHandler(handler)
        try:
            traced.post(
                "/v1/inspections",
                files={"image": dark},
                headers={"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-ID": "line-2"},
            )
        finally:
            logging.getLogger("app").removeHandler(handler)
        logging.getLogger("app").info("of no request")
    told = [(line["message"], line["request_id"], line["trace_id"]) for line in map(json.loads, lines)]
    assert told == [(message, "line-2", TRACE) for message in ("inspected", "request")]
    assert "trace_id" not in json.loads(JsonLines().format(caplog.records[-1]))


def test_without_a_collector_nothing_is_imported_for_it() -> None:
    """FastAPI needs the API in any case; the SDK costs memory, and is an extra."""
    code = """import sys; from app.main import create_app; create_app()
assert not [each for each in sys.modules if each.startswith(("opentelemetry.sdk", "opentelemetry.exp"))]"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), check=True)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, EXPORTER, None)
    with pytest.raises(PackageMissing, match=r"PASSLINE_OTLP_ENDPOINT.*passline\[otel\]"):
        create_app(Settings(otlp_endpoint="http://127.0.0.1:4318"))


class _Collector(BaseHTTPRequestHandler):
    """Takes what is sent to it and says nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append((self.path, body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_spans_reach_a_collector_before_the_service_ends(bundle_dir: Path, dark: bytes) -> None:
    pytest.importorskip(EXPORTER)
    with HTTPServer(("127.0.0.1", 0), _Collector) as server:
        server.taken = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        settings = Settings(bundle_dir=bundle_dir, otlp_endpoint=f"http://127.0.0.1:{server.server_port}")
        with LocalClient(create_app(settings)) as client:
            post(client, dark)
        server.shutdown()
        thread.join()
    ((path, body),) = server.taken  # type: ignore[attr-defined]
    assert path == "/v1/traces"
    assert all(name.encode() in body for name in (*STEPS, "passline", "POST /v1/inspections"))


def test_a_collector_that_is_gone_holds_up_neither_requests_nor_the_end(
    bundle_dir: Path, dark: bytes
) -> None:
    pytest.importorskip(EXPORTER)
    settings = Settings(bundle_dir=bundle_dir, otlp_endpoint="http://127.0.0.1:9")
    with LocalClient(create_app(settings)) as client:
        assert post(client, dark)["verdict"] == "fail"
        ends = threading.Timer(PATIENCE_S + 20, lambda: None)
        ends.start()
    assert ends.is_alive()
    ends.cancel()

"""The service as a process of its own, over real sockets: start, greeting, odd clients, and its end."""

import http.client
import json
import re
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.markdown import ROOT
from tests.serving import Serving, serving
from tests.tiny_bundle import png, tiny_picture


def get(server: Serving, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def metric(server: Serving, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", get(server, "/metrics")[1].decode(), re.MULTILINE)
    return float(found.group(1)) if found else 0.0


def test_it_greets_with_lines_that_work_as_they_are(server: Serving) -> None:
    lines = re.findall(r"whose verdict is (\w+):\n +(curl .*)", server.greeting)
    assert [verdict for verdict, _ in lines] == ["fail", "pass"]
    for verdict, line in lines:
        printed = subprocess.run(shlex.split(line), check=True, capture_output=True, timeout=20, cwd=ROOT)
        assert json.loads(printed.stdout)["verdict"] == verdict
    assert "CPUExecutionProvider" in server.greeting
    assert f"{server.url}/docs" in server.greeting


def test_a_raw_upload_and_then_another_on_the_same_connection(server: Serving, dark: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for content, status in ((dark, 200), (b"", 400), (dark, 200)):
        connection.request("POST", "/v1/inspections", content, {"Content-Type": "image/png"})
        response = connection.getresponse()
        assert response.status == status
        assert response.getheader("Server") is None
        response.read()
    connection.close()


def test_a_client_that_leaves_in_the_middle_of_its_upload(server: Serving, dark: bytes) -> None:
    left = metric(server, 'passline_http_requests_total{route="/v1/inspections",status="499"}')
    for body in (dark[:50], b""):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            head = f"POST /v1/inspections HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(dark)}\r\n"
            client.sendall(head.encode() + b"Content-Type: image/png\r\n\r\n" + body)
            time.sleep(0.1)
    until = time.monotonic() + 60
    while metric(server, 'passline_http_requests_total{route="/v1/inspections",status="499"}') < left + 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert metric(server, "passline_upload_bytes") == 0
    assert get(server, "/readyz")[0] == 200


def test_a_client_that_leaves_before_its_answer(server: Serving) -> None:
    slow = png(tiny_picture(2100, 2100))
    name = 'passline_http_requests_total{route="/v1/inspections",status="499"}'
    left = metric(server, name)
    for _ in range(6):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            head = f"POST /v1/inspections HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(slow)}\r\n"
            client.sendall(head.encode() + b"Content-Type: image/png\r\n\r\n" + slow)
            time.sleep(0.02)
    until = time.monotonic() + 60
    while metric(server, name) < left + 4 or metric(server, "passline_queue_running"):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert metric(server, "passline_queue_waiting") == 0


def test_a_refusal_reaches_a_client_that_is_still_writing(server: Serving) -> None:
    much = bytes(20_000_000)
    for path, content_type, status in (
        ("/v1/inspections", "image/png", 413),
        ("/v1/inspections", "text/plain", 415),
        ("/nowhere", "image/png", 404),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("POST", path, much, {"Content-Type": content_type})
        response = connection.getresponse()
        assert response.status == status
        assert json.load(response)["status"] == status
        connection.close()


def test_who_asks_first_is_told_before_sending_anything(server: Serving) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=4) as client:
        client.sendall(
            b"POST /v1/inspections HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n"
            b"Content-Type: image/png\r\nExpect: 100-continue\r\n\r\n"
        )
        assert client.recv(64).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\0" * 100_000])
def test_what_is_no_http_at_all(server: Serving, junk: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(junk)
    assert get(server, "/healthz")[0] == 200


def test_it_stops_in_order_and_finishes_what_it_has_begun(bundle_dir: Path) -> None:
    slow = png(tiny_picture(2000, 2000))
    with serving(bundle_dir, threads=1) as service:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        connection.request("POST", "/v1/inspections?mask=none", slow, {"Content-Type": "image/png"})
        while not metric(service, "passline_upload_bytes"):
            time.sleep(0.005)  # it has not begun yet
        out, err = service.stop()
        assert json.load(connection.getresponse())["verdict"] == "pass"
        connection.close()
    assert err == ""
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["message"] for line in lines if line["logger"] == "app.service"] == [
        *("ready", "inspected", "stopped")
    ]
    (request,) = (line for line in lines if line["message"] == "request")
    assert (request["status"], request["path"], request["bytes"]) == (200, "/v1/inspections", len(slow))
    assert service.process.returncode in (0, -signal.SIGTERM)


def test_an_interrupt_ends_it_without_a_traceback(bundle_dir: Path) -> None:
    with serving(bundle_dir, threads=1) as service:
        _, err = service.stop(signal.SIGINT)
    assert err == ""
    assert service.process.returncode == 0


def test_without_a_bundle_it_is_up_and_says_why(tmp_path: Path) -> None:
    with serving(tmp_path / "nowhere") as service:
        assert "nowhere" in service.greeting
        assert get(service, "/healthz")[0] == 200
        status, problem = get(service, "/readyz")
        assert (status, json.loads(problem)["cause"]["code"]) == (503, "bundle_corrupt")


@pytest.fixture(scope="module")
def narrow(bundle_dir: Path) -> Iterator[Serving]:
    """A service with room for two inspections and little memory."""
    with serving(
        bundle_dir,
        threads=1,
        workers=1,
        queue_size=2,
        max_upload_bytes=100_000,
        max_batch_bytes=100_000,
        upload_memory_bytes=200_000,
        upload_timeout_ms=1500,
    ) as service:
        yield service


def test_more_than_it_can_take_is_refused_with_a_time_to_come_back(narrow: Serving) -> None:
    slow = png(tiny_picture(2100, 2100))

    def send(_: int) -> tuple[int, str | None]:
        connection = http.client.HTTPConnection("127.0.0.1", narrow.port, timeout=60)
        connection.request("POST", "/v1/inspections?mask=none", slow, {"Content-Type": "image/png"})
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status, response.getheader("Retry-After")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(8)))
    assert {status for status, _ in answers} == {200, 429}
    assert all((after is not None and int(after) >= 1) == (status == 429) for status, after in answers)
    assert send(0) == (200, None)


def test_uploads_share_bounded_memory_and_must_arrive_in_time(narrow: Serving, dark: bytes) -> None:
    head = b"POST /v1/inspections HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Content-Type: image/png\r\nContent-Length: 99000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", narrow.port), timeout=20) as first:
        first.sendall(head + bytes(90_000))
        while metric(narrow, "passline_upload_bytes") < 90_000:
            time.sleep(0.01)
        with socket.create_connection(("127.0.0.1", narrow.port), timeout=20) as second:
            second.sendall(head + bytes(99_000))
            assert second.recv(64).startswith(b"HTTP/1.1 429")
        assert first.recv(64).startswith(b"HTTP/1.1 408")
    assert metric(narrow, "passline_upload_bytes") == 0

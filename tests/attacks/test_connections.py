"""Connections straight to the service: one caller cannot take what others need."""

import http.client
import json
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.attacks.callers import (
    ATTACKER,
    CAMERA,
    PATIENCE_S,
    SMALL_WINDOW,
    connected,
    inspected,
    is_open,
    many,
)
from tests.serving import Serving, serving
from tests.tiny_bundle import png

MIB = 1024 * 1024
PROMPT_S = 5.0  # a camera is answered within; alone it takes some ten milliseconds


@pytest.fixture(scope="module")
def box(bundle_dir: Path) -> Iterator[Serving]:
    with serving(
        bundle_dir,
        threads=1,
        max_connections=64,
        header_timeout_s=30,
        max_upload_bytes=2 * MIB,
        max_batch_bytes=2 * MIB,
        upload_memory_bytes=8 * MIB,
    ) as service:
        yield service


def test_one_address_cannot_take_all_connections(box: Serving, clean: bytes) -> None:
    with ExitStack() as stack:
        held = many(stack, 300, box.port)
        time.sleep(0.5)
        assert sum(map(is_open, held)) <= 32 + 16, "half of the places, and those that are told so"
        status, body, seconds = inspected(box.port, clean)
        assert (status, json.loads(body)["verdict"]) == (200, "pass")
        assert seconds < PROMPT_S
        probe = http.client.HTTPConnection("127.0.0.1", box.port, source_address=(CAMERA, 0))
        probe.request("GET", "/readyz")
        assert probe.getresponse().status == 200
        probe.close()


def test_unfinished_uploads_leave_memory_for_others(box: Serving, clean: bytes) -> None:
    head = b"POST /v1/inspections HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    head += f"Content-Length: {2 * MIB}\r\n\r\n".encode()
    with ExitStack() as stack:
        many(stack, 16, box.port, head + bytes(MIB))
        time.sleep(0.5)
        status, body, seconds = inspected(box.port, clean)
        assert (status, json.loads(body)["verdict"]) == (200, "pass")
        assert seconds < PROMPT_S


def test_answers_that_are_not_taken_are_bounded(box: Serving, clean: bytes) -> None:
    """Each answer holds an overlay of some MB; one address gets at most half of the 8 MiB."""
    noise = png(np.random.default_rng(0).integers(0, 256, (1000, 1000), dtype=np.uint8))
    head = "POST /v1/inspections?overlay=true HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    asked = f"{head}Content-Length: {len(noise)}\r\n\r\n".encode() + noise
    with ExitStack() as stack:
        many(stack, 8, box.port, asked, window=SMALL_WINDOW)
        most = 0.0
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and _metric(box, "passline_inspections_total{") < 8:
            most = max(most, _metric(box, "passline_upload_bytes "))
            time.sleep(0.05)
        assert 0 < most <= 4 * MIB + 2 * MIB
        assert inspected(box.port, clean)[0] == 200


def _metric(box: Serving, name: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", box.port, source_address=(CAMERA, 0))
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_a_log_line_is_bounded(bundle_dir: Path) -> None:
    with serving(bundle_dir, threads=1) as service:
        for path in ("/" + 15_000 * "a", "/" + 5_000 * "%C3%A4", "/v1/recipes/" + 15_000 * "b"):
            connection = http.client.HTTPConnection("127.0.0.1", service.port)
            connection.request("GET", path)
            assert connection.getresponse().read()
            connection.close()
        out, _ = service.stop()
    assert '"path"' in out
    assert max(map(len, out.splitlines())) < 2000


def test_a_body_of_two_lengths_ends_the_connection(box: Serving) -> None:
    head = b"POST /v1/inspections HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connected(box.port, ATTACKER) as client:
        client.sendall(head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled)
        got = _rest(client)
    assert re.findall(rb"HTTP/1\.1 (\d+)", got) == [b"400"]
    assert json.loads(got.partition(b"\r\n\r\n")[2])["code"] == "http_invalid"


@pytest.mark.parametrize("path", ["/nowhere", "/v1/inspections"])
def test_a_body_in_tiny_chunks_is_cut_off(box: Serving, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    data = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + b"1\r\na\r\n" * 300_000 + b"0\r\n\r\n"
    before = _cpu_s(box)
    for _ in range(4):
        with connected(box.port, ATTACKER) as client:
            try:
                client.sendall(data)
                answer = _rest(client)
            except OSError:  # closed while it was still sending
                continue
            assert not answer or answer.startswith(b"HTTP/1.1 400 ")
    assert _cpu_s(box) - before < 2.0


@pytest.mark.parametrize("size", [256, 4096])
def test_an_image_in_chunks_as_clients_send_them_is_read(box: Serving, size: int) -> None:
    image = png(np.random.default_rng(0).integers(0, 256, (700, 700), np.uint8))
    pieces = (image[at : at + size] for at in range(0, len(image), size))
    connection = http.client.HTTPConnection("127.0.0.1", box.port, source_address=(CAMERA, 0))
    connection.request("POST", "/v1/inspections", pieces, {"Content-Type": "image/png"}, encode_chunked=True)
    assert connection.getresponse().status == 200
    connection.close()


def test_few_open_files_are_survived(bundle_dir: Path, clean: bytes) -> None:
    limited = ["sh", "-c", f"ulimit -n 256; exec {sys.executable} -W error -m app serve"]
    with serving(bundle_dir, limited, threads=1) as service:
        with ExitStack() as stack:
            many(stack, 400, service.port)
            time.sleep(0.5)
            status, _, seconds = inspected(service.port, clean)
            assert (status, seconds < PROMPT_S) == (200, True)
        out, err = service.stop()
    assert len(out) + len(err) < 20_000
    assert "open files allow" in out


@pytest.mark.parametrize("path", ["/nowhere", "/docs", "/openapi.json", "/v1/model"])
def test_refusals_and_pages_are_cheap(box: Serving, path: str) -> None:
    """Processor time of a request, in comparison with a probe's."""

    def cost(asked: str) -> float:
        connection = http.client.HTTPConnection("127.0.0.1", box.port)
        before = _cpu_s(box)
        for _ in range(200):
            connection.request("GET", asked, headers={"Host": "evil"})
            connection.getresponse().read()
        connection.close()
        return _cpu_s(box) - before

    cost("/healthz")
    assert cost(path) < 6 * max(cost("/healthz"), 0.1)


def _cpu_s(box: Serving) -> float:
    fields = Path(f"/proc/{box.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _rest(client: socket.socket) -> bytes:
    client.settimeout(PATIENCE_S)
    got = b""
    try:
        while piece := client.recv(65536):
            got += piece
    except ConnectionResetError:
        pass
    return got

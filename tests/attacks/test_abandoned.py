"""A client that vanishes, or a deadline that passes, ends the inspection and gives its memory back.

Each test prints how long that took (`pytest -s`); docs/security.md states it for one machine. The bounds here
are wide, for a slow and busy one.
"""

import http.client
import re
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.attacks.callers import CAMERA, PATIENCE_S, connected, inspected
from tests.serving import Serving, serving
from tests.slow_bundle import write_slow_bundle
from tests.tiny_bundle import png, write_tiny_bundle

MIB = 1024 * 1024
ENDED_S = 2.0  # at most; see docs/security.md for what was measured
KEPT_MIB = 100.0
STARTED_S = 30.0
SIDE = 2000  # px: 1,764 tiles, which take the slow bundle half a minute and more


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A service whose inspections take long in the model."""
    bundle = write_slow_bundle(tmp_path_factory.mktemp("slow") / "bundle", work=1500)
    with serving(bundle, threads=1, workers=2, deadline_ms=120_000) as service:
        yield service


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A service whose inspections of large images take as long for decoding as for the model."""
    bundle = write_tiny_bundle(tmp_path_factory.mktemp("quick") / "bundle", tile=512)
    room: dict[str, Any] = {"max_upload_bytes": 128 * MIB, "max_batch_bytes": 128 * MIB}
    room["upload_memory_bytes"] = 1024 * MIB
    with serving(bundle, threads=1, workers=2, **room) as service:
        yield service


@pytest.fixture(scope="module")
def surface() -> bytes:
    return png(np.tile(np.random.default_rng(0).integers(100, 156, (100, 100), np.uint8), (SIDE // 100,) * 2))


def large(file_format: str) -> bytes:
    """Some 19 million pixels of colour in one of the formats."""
    patch = np.random.default_rng(0).integers(100, 156, (100, 100, 3), np.uint8)
    out = BytesIO()
    options: dict[str, dict[str, Any]] = {"JPEG": {"progressive": True}, "PNG": {"compress_level": 1}}
    Image.fromarray(np.tile(patch, (44, 44, 1))).save(out, file_format, **options.get(file_format, {}))
    return out.getvalue()


def running(service: Serving) -> int:
    """The number of inspections that a thread works on."""
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE_S)) as connection:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    found = re.search(r"^passline_queue_running (\d+)", text, re.MULTILINE)
    assert found, text[:500]
    return int(found[1])


def begun(service: Serving, image: bytes, kind: str = "image/png", query: str = "") -> socket.socket:
    """A connection whose inspection a thread works on."""
    client = connected(service.port, CAMERA)
    head = f"POST /v1/inspections{query} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
    client.sendall(f"{head}Content-Length: {len(image)}\r\n\r\n".encode() + image)
    until = time.monotonic() + STARTED_S
    while not running(service):
        assert time.monotonic() < until, "it never began"
        time.sleep(0.002)
    return client


def vanish(client: socket.socket) -> None:
    """Reset the connection, as a client that is switched off or killed."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def ended_after(service: Serving, most: float = ENDED_S) -> float:
    """The seconds until no thread inspects any more; fails if it takes too long."""
    since = time.monotonic()
    while running(service):
        assert time.monotonic() - since < most, "the thread goes on for nobody"
        time.sleep(0.005)
    return time.monotonic() - since


def check_memory(service: Serving, before: float) -> None:
    until = time.monotonic() + ENDED_S
    while (now := service.memory_mib("VmRSS")) > before + KEPT_MIB:
        assert time.monotonic() < until, f"{now - before:.0f} MiB are kept"
        time.sleep(0.02)


def test_a_client_that_vanishes_frees_thread_and_memory(slow: Serving, surface: bytes) -> None:
    before = slow.memory_mib("VmRSS")
    client = begun(slow, surface)
    time.sleep(0.5)
    assert running(slow) == 1, "the image is too quick for this test"
    vanish(client)
    print("ended after", round(1000 * ended_after(slow)), "ms")
    check_memory(slow, before)


def test_many_that_vanish_leave_the_threads_to_others(slow: Serving, surface: bytes) -> None:
    for _ in range(3):
        clients = [begun(slow, surface) for _ in range(6)]
        for client in clients:
            vanish(client)
        print("ended after", round(1000 * ended_after(slow)), "ms")
    status, _, _ = inspected(slow.port, png(np.full((64, 64), 128, np.uint8)))
    assert status == 200


def test_a_deadline_ends_the_work_not_only_the_wait(slow: Serving, surface: bytes) -> None:
    before = slow.memory_mib("VmRSS")
    status, body, _ = inspected(slow.port, surface, **{"X-Deadline-Ms": "700"})
    assert (status, b"deadline_exceeded" in body) == (504, True)
    print("ended after", round(1000 * ended_after(slow)), "ms")
    check_memory(slow, before)


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF"])
def test_every_step_of_a_large_image_ends(quick: Serving, file_format: str) -> None:
    """The client leaves at several moments: while the image is decoded, inspected and answered."""
    image, kind = large(file_format), f"image/{file_format.lower()}"
    with closing(begun(quick, image, kind, "?overlay=true&mask=rle")) as client:
        since = time.monotonic()
        assert client.recv(12).endswith(b"200")
        whole = time.monotonic() - since
        while client.recv(1 << 20) and running(quick):
            pass
    before = quick.memory_mib("VmRSS")
    took = []
    for share in (0.02, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9):
        client = begun(quick, image, kind, "?overlay=true&mask=rle")
        time.sleep(share * whole)
        vanish(client)
        took.append(round(1000 * ended_after(quick)))
        check_memory(quick, before)
    print(file_format, "of", round(whole, 1), "s ended after", took, "ms")

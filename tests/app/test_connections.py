"""Connections over raw sockets: the slow, the silent and the many are cut off, and the others are served."""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.api.middleware import MAX_HEADER_BYTES
from app.connections import SPARE
from app.fair_share import caller_of
from tests.serving import Serving, serving

MOST = 6  # of which one address gets half
HEADER = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
PATIENCE_S = 10.0


@pytest.fixture(scope="module")
def strict(bundle_dir: Path) -> Iterator[Serving]:
    with serving(bundle_dir, threads=1, max_connections=MOST, header_timeout_s=1) as service:
        yield service


def connected(server: Serving) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)


def ask(client: socket.socket) -> None:
    """One whole request that is answered."""
    client.sendall(HEADER)
    got = b""
    while not got.endswith(b'{"status":"ok"}'):
        piece = client.recv(65536)
        assert piece, got
        got += piece


def rest(client: socket.socket) -> bytes:
    """What still comes until the other side ends it; raises TimeoutError where it does not."""
    got = b""
    try:
        while piece := client.recv(65536):
            got += piece
    except ConnectionResetError:
        pass
    return got


def dripped_until_cut_off(client: socket.socket, data: bytes) -> None:
    """Send byte by byte until the connection is gone; it must be long before all is sent."""
    begun = time.monotonic()
    client.setblocking(False)
    for byte in data:
        try:
            client.send(bytes([byte]))
            if client.recv(65536) == b"":
                break
        except BlockingIOError:
            pass
        except OSError:
            break
        assert time.monotonic() - begun < PATIENCE_S / 2, "it is not cut off"
        time.sleep(0.05)
    assert time.monotonic() - begun > 0.5


def test_who_says_nothing_is_cut_off(strict: Serving) -> None:
    with connected(strict) as client:
        assert rest(client) == b""


def test_a_header_that_drips_is_cut_off(strict: Serving) -> None:
    with connected(strict) as client:
        dripped_until_cut_off(client, b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 500)


def test_the_second_header_of_a_connection_as_well(strict: Serving) -> None:
    with connected(strict) as client:
        ask(client)
        time.sleep(1.2)  # between requests it may be idle for longer than a header may take
        ask(client)
        dripped_until_cut_off(client, b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 500)


def test_the_body_of_a_refused_request_as_well(strict: Serving) -> None:
    with connected(strict) as client:
        client.sendall(
            b"POST /v1/inspections HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
            b"Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert client.recv(65536).startswith(b"HTTP/1.1 415")
        dripped_until_cut_off(client, bytes(1000))


def test_who_never_takes_its_answer_is_cut_off(strict: Serving) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(PATIENCE_S)
        client.connect(("127.0.0.1", strict.port))
        many = 30  # so many, asked at once, that they fill every buffer on the way
        client.sendall(b"GET /static/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * many)
        time.sleep(2.2)
        assert rest(client).count(b"HTTP/1.1 200") < many


def test_who_takes_it_slowly_gets_all_of_it(strict: Serving) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(PATIENCE_S)
        client.connect(("127.0.0.1", strict.port))
        client.sendall(
            b"GET /static/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        got = b""
        until = time.monotonic() + 1.6
        while time.monotonic() < until:
            got += client.recv(16_384)
            time.sleep(0.1)
        got += rest(client)
    length = re.search(rb"content-length: (\d+)", got)
    assert length is not None
    assert len(got.partition(b"\r\n\r\n")[2]) == int(length.group(1))


def test_a_header_has_its_size(strict: Serving) -> None:
    with connected(strict) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nX: " + b"y" * 2 * MAX_HEADER_BYTES)
        assert rest(client)[:12] in (b"HTTP/1.1 400", b"")  # or reset before it could be read
    with connected(strict) as client:
        client.sendall(
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * (MAX_HEADER_BYTES // 2) + b"\r\n\r\n"
        )
        assert client.recv(65536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "large",
    [
        b"/healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * MAX_HEADER_BYTES,
        b"/healthz HTTP/1.1\r\nHost: localhost" + b"\r\nX: y" * (MAX_HEADER_BYTES // 2),
        b"/healthz?" + b"y" * MAX_HEADER_BYTES + b" HTTP/1.1\r\nHost: localhost",
    ],
    ids=["one", "many", "address"],
)
def test_one_that_comes_whole_has_the_same(strict: Serving, large: bytes) -> None:
    """The parser measures only what is not whole yet; in how many pieces it comes is the network's choice."""
    with connected(strict) as client:
        client.sendall(b"GET " + large + b"\r\nConnection: close\r\n\r\n")
        head, _, body = rest(client).partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 400"):
        assert json.loads(body)["code"] == "http_invalid"
    else:
        assert head.startswith(b"HTTP/1.1 431")
        assert json.loads(body)["code"] == "headers_too_large"


def test_one_connection_too_many_is_told_so_and_probes_are_answered(strict: Serving) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(connected(strict)) for _ in range(MOST // 2)]
        for client in held:
            ask(client)  # once served, they are idle and stay
        with connected(strict) as client:
            client.sendall(b"GET /v1/model HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head, _, body = rest(client).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 429")
            assert b"retry-after: 1" in head
            assert json.loads(body)["code"] == "overloaded"
        with connected(strict) as client:
            client.sendall(HEADER)
            assert rest(client).startswith(b"HTTP/1.1 200")
    with connected(strict) as client:
        client.sendall(b"GET /v1/model HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert rest(client).startswith(b"HTTP/1.1 200")


def test_far_too_many_are_cut_off_without_a_word(strict: Serving) -> None:
    with ExitStack() as stack:
        for _ in range(MOST // 2 + SPARE):
            stack.enter_context(connected(strict))
        with connected(strict) as client:
            client.sendall(HEADER)
            assert rest(client) == b""


@pytest.mark.parametrize(
    ("address", "caller"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_an_ipv6_network_is_one_caller(address: str, caller: str) -> None:
    assert caller_of(address) == caller

"""Callers by raw sockets, from several addresses of this machine (all of 127.0.0.0/8 are on Linux)."""

import http.client
import socket
import time
from contextlib import ExitStack
from typing import Any

ATTACKER, CAMERA = "127.0.0.2", "127.0.0.3"
PATIENCE_S = 20.0
SMALL_WINDOW = 4096


def connected(port: int, address: str, *, window: int | None = None) -> socket.socket:
    """A connection from an address; with `window` it takes no more than about so many bytes unread."""
    client = socket.socket()
    client.settimeout(PATIENCE_S)
    if window is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    try:
        client.bind((address, 0))
        client.connect(("127.0.0.1", port))
    except OSError:
        client.close()
        raise
    return client


def many(stack: ExitStack, count: int, port: int, send: bytes = b"", **options: Any) -> list[socket.socket]:
    """Connections of the attacker, each of which has sent some bytes; those that are refused are left out."""
    held = []
    for _ in range(count):
        try:
            client = stack.enter_context(connected(port, ATTACKER, **options))
            client.sendall(send)
        except OSError:
            continue
        held.append(client)
    return held


def is_open(client: socket.socket) -> bool:
    """Whether the other side has not ended a connection on which nothing was answered."""
    client.setblocking(False)
    try:
        return client.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def inspected(
    port: int, image: bytes, address: str = CAMERA, query: str = "", **headers: str
) -> tuple[int, bytes, float]:
    """Status, body and seconds of one inspection; `query` begins with `&`."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=PATIENCE_S, source_address=(address, 0)
    )
    path = f"/v1/inspections?mask=none{query}"
    connection.request("POST", path, image, {"Content-Type": "image/png", **headers})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body, time.monotonic() - begun

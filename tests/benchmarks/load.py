"""Clients that take little of the processor they share with the server: bytes made before, nothing parsed."""

import http
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field

from tests.serving import HOST

TIMEOUT_S = 120.0
BOUNDARY = "picture-boundary"


@dataclass(frozen=True)
class Answer:
    """Status, headers in lower case, and body."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


def form(path: str, name: str, picture: bytes) -> bytes:
    """A whole request that sends a PNG as the form field `name`."""
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="picture.png"\r\n'
    body = f"{part}Content-Type: image/png\r\n\r\n".encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()
    return request(path, f"multipart/form-data; boundary={BOUNDARY}", body)


def request(path: str, media_type: str, body: bytes, method: str = "POST") -> bytes:
    """A whole request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {media_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Connection:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("rb")

    def close(self) -> None:
        """Leave, whatever is still to come."""
        self._answers.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def receive(self) -> Answer:
        """The next answer; raises ConnectionError where the server has closed the connection instead."""
        first = self._answers.readline().split(maxsplit=2)
        if len(first) < 2:
            raise ConnectionError("the server closed the connection without an answer")
        headers = {}
        while line := self._answers.readline().strip():
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        return Answer(int(first[1]), headers, self._answers.read(int(headers.get(b"content-length", 0))))

    def ask(self, data: bytes) -> Answer:
        """Send a request and wait for its answer."""
        self.send(data)
        return self.receive()


@contextmanager
def connected(port: int) -> Iterator[Connection]:
    """A connection that is closed at the end."""
    with closing(Connection(port)) as connection:
        yield connection


@dataclass(frozen=True)
class Turn:
    """What one turn of load gave; latencies are of the requests answered within it."""

    per_s: float
    latencies_ms: tuple[float, ...]


@dataclass
class _Taken:
    """Beginnings and ends of one client's requests, in `time.perf_counter`."""

    spans: list[tuple[float, float]] = field(default_factory=list)
    answered: threading.Event = field(default_factory=threading.Event)


def turn(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Turn:
    """Load by so many clients, each sending its next request when the last is answered.

    The turn begins once each client has had an answer. Raises RuntimeError for an answer that is not 200.
    """
    taken, over = [_Taken() for _ in range(clients)], threading.Event()
    failures: list[Exception] = []

    def client(number: int, connection: Connection) -> None:
        place, own = number, taken[number]
        try:
            while not over.is_set():
                started = time.perf_counter()
                answer = connection.ask(requests[place % len(requests)])
                own.spans.append((started, time.perf_counter()))
                if answer.status != http.HTTPStatus.OK:
                    raise RuntimeError(f"the server answered {answer.status} {answer.body[:300]!r}")
                own.answered.set()
                place += 1
        except (OSError, RuntimeError) as error:
            failures.append(error)
            own.answered.set()

    with ExitStack() as stack:
        kept = [stack.enter_context(connected(port)) for _ in range(clients)]
        at_work = [threading.Thread(target=client, args=pair) for pair in enumerate(kept)]
        for thread in at_work:
            thread.start()
        for each in taken:
            each.answered.wait()
        begin = time.perf_counter()
        time.sleep(seconds)
        end = time.perf_counter()
        over.set()
        for thread in at_work:
            thread.join()
    if failures:
        raise RuntimeError(f"a client failed: {failures[0]}") from failures[0]
    return measured([span for each in taken for span in each.spans], begin, end)


def measured(spans: Sequence[tuple[float, float]], begin: float, end: float) -> Turn:
    """The rate between two moments; a request that lies only partly between them counts in part.

    So a server that answers in bursts gets neither more nor less than it does.
    """
    parts = [max(0.0, min(done, end) - max(sent, begin)) / (done - sent) for sent, done in spans]
    latencies = tuple((done - sent) * 1000 for sent, done in spans if begin <= done < end)
    return Turn(sum(parts) / (end - begin), latencies)

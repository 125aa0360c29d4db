"""What goes wrong around a service, on real sockets: callers that leave or dawdle, and clocks that jump.

In all of it nobody is told `pass` for an image that was not judged, nothing is held for ever, and the next
caller is served.
"""

import ast
import http.client
import json
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.app.conftest import STRICT, change_database, data_of
from tests.app.test_recipes import LENIENT, put
from tests.markdown import ROOT
from tests.serving import HOST, Serving, serving
from tests.tiny_bundle import png, tiny_picture

UPLOAD_TIMEOUT_S = 0.7
KEEP_ALIVE_S = 1
SLOW_SIDE = 2100  # nearly the most tiles that an image may have
# Hours forth and back at each look: whoever measures a time by this clock waits for ever or not at all.
JUMPING_CLOCK = """
import itertools, sys, time
real, jumps = time.time, itertools.cycle((-3600.0, 7200.0, 0.0))
time.time = lambda: real() + next(jumps)
from app.__main__ import main
sys.exit(main(["serve"]))
"""
COMMAND = [sys.executable, "-W", "error", "-c", JUMPING_CLOCK]


@pytest.fixture(scope="module")
def server(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One worker, a short queue, little patience, and a wall clock that cannot be relied on."""
    with serving(
        bundle_dir,
        COMMAND,
        threads=1,
        workers=1,
        queue_size=3,
        upload_timeout_ms=int(UPLOAD_TIMEOUT_S * 1000),
        keep_alive_s=KEEP_ALIVE_S,
        header_timeout_s=KEEP_ALIVE_S,
        recipes_dir=tmp_path_factory.mktemp("recipes"),
        log_level="debug",
    ) as service:
        yield service


@pytest.fixture(scope="module")
def slow() -> bytes:
    """An image that keeps the worker busy for a while."""
    return png(tiny_picture(SLOW_SIDE, SLOW_SIDE))


def head(length: int, query: str = "") -> bytes:
    line = f"POST /v1/inspections{query} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    return f"{line}Content-Length: {length}\r\n\r\n".encode()


@contextmanager
def sent(server: Serving, data: bytes) -> Iterator[socket.socket]:
    """A connection on which these bytes were sent; it is closed at the end."""
    with socket.create_connection((HOST, server.port), timeout=60) as client:
        client.sendall(data)
        yield client


def answer(client: socket.socket) -> tuple[int, Any]:
    """The status and the body of the answer on a connection."""
    response = http.client.HTTPResponse(client)
    response.begin()
    return response.status, json.load(response)


def ask(server: Serving, picture: bytes, query: str = "", **headers: str) -> tuple[int, dict[str, str], Any]:
    connection = http.client.HTTPConnection(HOST, server.port, timeout=60)
    try:
        given = {"Content-Type": "image/png"} | {
            name.replace("_", "-"): text for name, text in headers.items()
        }
        connection.request("POST", f"/v1/inspections{query}", picture, given)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), json.load(response)
    finally:
        connection.close()


def metrics(server: Serving) -> str:
    connection = http.client.HTTPConnection(HOST, server.port, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def metric(server: Serving, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", metrics(server), re.MULTILINE)
    return float(found.group(1)) if found else 0.0


def until(holds: Callable[[], bool]) -> None:
    limit = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.01)


def idle(server: Serving) -> None:
    """Wait until nothing is held, waits or runs."""
    names = ("upload_bytes", "queue_waiting", "queue_running")
    until(lambda: not any(metric(server, f"passline_{name}") for name in names))


def test_a_byte_now_and_then_is_no_upload(server: Serving, clean: bytes) -> None:
    with sent(server, head(1_000_000) + clean) as dawdler:
        until(lambda: metric(server, "passline_upload_bytes") >= len(clean))
        begun = time.monotonic()
        dawdler.sendall(b"\0")
        assert ask(server, clean)[2]["verdict"] == "pass"  # the others do not wait for it
        status, problem = answer(dawdler)
        assert (status, problem["code"]) == (408, "upload_timeout")
        assert time.monotonic() - begun < UPLOAD_TIMEOUT_S + 30
    assert metric(server, "passline_upload_bytes") == 0


@pytest.mark.parametrize("begun", [b"", b"POST /v1/insp"], ids=["nothing", "half a line"])
def test_a_connection_that_asks_for_nothing_is_closed(server: Serving, begun: bytes) -> None:
    with sent(server, begun) as client:
        assert client.recv(64) == b""


def test_a_caller_that_left_while_waiting_is_not_inspected(
    server: Serving, slow: bytes, clean: bytes
) -> None:
    before = metric(server, 'passline_step_seconds_count{step="inference"}')
    with sent(server, head(len(slow)) + slow) as first, sent(server, head(len(slow)) + slow) as second:
        until(lambda: metric(server, "passline_queue_waiting") == 1)
        with sent(server, head(len(clean), "?camera_id=left") + clean):
            until(lambda: metric(server, "passline_queue_waiting") == 2)
        until(lambda: metric(server, "passline_queue_waiting") < 2)  # its place is free for another
        assert [answer(client)[1]["verdict"] for client in (first, second)] == ["pass", "pass"]
    idle(server)
    assert 'camera="left"' not in metrics(server)
    assert metric(server, 'passline_step_seconds_count{step="inference"}') == before + 2


def test_a_caller_that_left_while_its_picture_ran_counts_for_nothing(server: Serving, slow: bytes) -> None:
    status = 'passline_http_requests_total{route="/v1/inspections",status="499"}'
    before = metric(server, status)
    with sent(server, head(len(slow), "?camera_id=gone") + slow):
        until(lambda: metric(server, "passline_queue_running") == 1)
    idle(server)
    assert metric(server, status) == before + 1
    assert 'camera="gone"' not in metrics(server)


def test_a_caller_that_shuts_its_side_is_taken_to_have_left(server: Serving, slow: bytes) -> None:
    """Closing looks the same from here, and work for somebody who has left must not hold up the line."""
    with sent(server, head(len(slow), "?camera_id=half") + slow) as client:
        client.shutdown(socket.SHUT_WR)
        assert client.recv(64) == b""  # no answer, so not judged
    idle(server)
    assert 'camera="half"' not in metrics(server)


def test_deadlines_do_not_go_by_the_wall_clock(server: Serving, slow: bytes, clean: bytes) -> None:
    assert ask(server, clean)[2]["verdict"] == "pass"
    status, _, problem = ask(server, slow, X_Deadline_Ms="100")
    assert (status, problem["code"]) == (504, "deadline_exceeded")
    idle(server)
    assert ask(server, clean, X_Deadline_Ms="20000")[0] == 200


def test_the_time_to_come_back_does_not_go_by_the_wall_clock(server: Serving, slow: bytes) -> None:
    idle(server)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: ask(server, slow), range(6)))
    later = [int(headers["retry-after"]) for status, headers, _ in answers if status == 429]
    assert {status for status, *_ in answers} == {200, 429}
    assert all(1 <= seconds <= 30 for seconds in later)


def test_nothing_but_records_is_stamped_by_the_wall_clock() -> None:
    """The jumping clock cannot reach `datetime.now`: only records may ask it, and keys that expire."""
    asks = re.compile(r"\btime\.time(_ns)?\b|\bdatetime\.now\b|\butcnow\b")
    files = {
        path.name
        for path in (ROOT / "app").rglob("*.py")
        if any(asks.search(ast.unparse(node)) for node in ast.parse(path.read_text()).body)
    }
    of_recipes = {"explanations.py", "history.py", "store.py", "tracing.py"}
    of_bundles = {"candidate.py", "registry.py", "shadow.py"}
    of_history = {"record.py", "reviews.py", "statistics.py", "times.py"}
    assert files == of_recipes | of_bundles | of_history | {"keys.py"}


def test_a_history_whose_times_go_back_is_read_in_its_order(
    make_client: Callable[..., TestClient], folder: Path
) -> None:
    put(first := make_client(recipes_dir=folder), "strict", LENIENT)
    for number, year in enumerate((2031, 2019), 1):
        set_when = f"""UPDATE recipe_changes
            SET document = json_set(document, '$.when', '{year}-01-01T00:00:00Z') WHERE number = {number}"""
        change_database(data_of(first), set_when)
    client = make_client(recipes_dir=folder)
    assert client.get("/v1/recipes/strict").json()["text"] == LENIENT
    versions = client.get("/v1/recipes/strict/versions").json()["versions"]
    assert [each["when"][:4] for each in versions] == ["2031", "2019"]
    assert put(client, "strict", STRICT).json()["version"] == 3


def test_each_line_of_the_log_has_the_id_of_its_request(server: Serving, clean: bytes) -> None:
    """Also those that other threads write: `recipe changed` is one."""
    names = [f"part-{number}" for number in range(12)]

    def talk(name: str) -> None:
        assert ask(server, clean, f"?part_id={name}", X_Request_ID=name)[0] == 200
        connection = http.client.HTTPConnection(HOST, server.port, timeout=60)
        headers = {"Content-Type": "application/yaml", "X-Request-ID": name}
        connection.request("PUT", f"/v1/recipes/{name}?who={name}", f"name: {name}\n", headers)
        assert connection.getresponse().status == 200
        connection.close()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(talk, names))
    time.sleep(1)  # the line of a request is written after its answer
    lines = [json.loads(line) for line in (server.logs / "stdout").read_text().splitlines()]
    ours = [line for line in lines if line.get("part_id") in names or line.get("who") in names]
    assert [line["request_id"] for line in ours] == [line.get("part_id") or line["who"] for line in ours]
    for name in names:
        told = [line["message"] for line in lines if line["request_id"] == name]
        assert told == ["inspected", "request", "recipe changed", "request"]

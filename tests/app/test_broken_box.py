"""A box that breaks under a service: a disk that is full or takes nothing, a log nobody reads, a kill."""

import contextlib
import fcntl
import http.client
import json
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.telemetry.metrics import LineHandler, Stdout
from tests.app.test_faults import SLOW_SIDE, ask, head, metric, sent, until
from tests.app.test_inspections import refused
from tests.serving import HOST, Serving, app_command, serving
from tests.tiny_bundle import png, tiny_picture

ROOM = 1024 * 1024  # bytes that a file may have: beyond it every write fails, as on a full disk
FULL_DISK = ["sh", "-c", f'ulimit -f {ROOM // 512}; exec "$@"', "sh", *app_command("serve")]
LONG = "# why\n" * 8000
SMALL = "name: line\nother: {max_count: 0}\n"


def put_recipe(server: Serving, name: str, text: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(HOST, server.port, timeout=60)
    try:
        connection.request("PUT", f"/v1/recipes/{name}", text, {"Content-Type": "application/yaml"})
        response = connection.getresponse()
        return response.status, json.load(response)
    finally:
        connection.close()


def get(server: Serving, path: str) -> Any:
    connection = http.client.HTTPConnection(HOST, server.port, timeout=60)
    try:
        connection.request("GET", path)
        return json.load(connection.getresponse())
    finally:
        connection.close()


def test_a_full_disk_and_then_a_kill_lose_nothing_that_was_answered(
    bundle_dir: Path, tmp_path: Path, dark: bytes
) -> None:
    log = tmp_path / "log"
    log.write_bytes(bytes(ROOM - 500))
    data = tmp_path / "data"
    with (
        log.open("ab") as out,
        serving(bundle_dir, FULL_DISK, threads=1, data_dir=data, stdout=out.fileno()) as service,
    ):
        assert put_recipe(service, "line", SMALL)[0] == 200
        made = 0
        while (answer := put_recipe(service, f"long-{made}", f"name: long-{made}\n" + LONG))[0] == 200:
            made += 1
        assert (answer[0], answer[1]["code"]) == (503, "database_unusable")
        assert re.search("disk", answer[1]["detail"])
        assert len(get(service, "/v1/recipes")["recipes"]) == made + 2  # the bundle's own is one
        for _ in range(5):  # the log's file is full as well
            status, _, answer = ask(service, dark, "?recipe=line")
            assert (status, answer["verdict"], answer["recipe_version"]) == (200, "fail", 1)
        assert metric(service, "passline_log_lines_lost") > 0
        service.process.send_signal(signal.SIGKILL)
    with serving(bundle_dir, threads=1, data_dir=data) as service:
        assert get(service, "/v1/recipes/line")["text"] == SMALL
        assert len(get(service, "/v1/recipes")["recipes"]) == made + 2
        answered = _killed_in_the_middle(service)
    with serving(bundle_dir, threads=1, data_dir=data) as service:
        versions = get(service, "/v1/recipes/often/versions")["versions"]
        assert answered <= len(versions) <= answered + 1  # the last one may be written but not answered
        assert put_recipe(service, "often", "name: often\n# after\n")[1]["version"] == len(versions) + 1


def _killed_in_the_middle(service: Serving) -> int:
    """Kill it while it inspects and writes recipes; how many versions it has answered for."""
    answered = 0

    def write() -> None:
        nonlocal answered
        with contextlib.suppress(OSError, http.client.HTTPException, json.JSONDecodeError):
            while put_recipe(service, "often", f"name: often\n# {answered}\n")[0] == 200:
                answered += 1

    slow = png(tiny_picture(SLOW_SIDE, SLOW_SIDE))
    with sent(service, head(len(slow)) + slow) as client:
        until(lambda: metric(service, "passline_queue_running") == 1)
        writer = threading.Thread(target=write)
        writer.start()
        time.sleep(0.05)
        service.process.send_signal(signal.SIGKILL)
        writer.join()
        received = b""
        with contextlib.suppress(ConnectionResetError):
            received = client.recv(64)
        assert received == b""  # a broken connection, and no verdict
    return answered


@pytest.mark.parametrize("where", ["a file in the way", "a file system that takes nothing"])
def test_a_folder_of_data_that_cannot_be_made_is_named(
    make_client: Callable[..., TestClient], tmp_path: Path, where: str
) -> None:
    """File modes do not stop root: a file where the folder should be does, and so does /proc."""
    folder = tmp_path / "data" if where == "a file in the way" else Path("/proc/self/data")
    if folder.parent == tmp_path:
        folder.write_text("")
    client = make_client(data_dir=folder)
    cause = refused(client.get("/readyz"), 503, "not_ready")["cause"]
    assert cause["code"] == "database_unusable"
    assert str(folder) in cause["detail"]


def test_a_log_that_nobody_reads_holds_up_no_request(bundle_dir: Path, dark: bytes) -> None:
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, 4096)
    with serving(bundle_dir, stdout=writes, threads=1) as service:
        os.close(writes)
        for _ in range(12):
            assert ask(service, dark)[2]["verdict"] == "fail"
        assert metric(service, "passline_log_lines_lost") > 0
        lines = os.read(reads, 100_000).decode().splitlines()
        assert [json.loads(line)["message"] for line in lines].count("inspected") > 3  # each is whole
        os.close(reads)  # and now nobody can ever read it
        assert ask(service, dark)[2]["verdict"] == "fail"
        assert get(service, "/readyz")["status"] == "ready"


def test_lines_that_cannot_be_written_are_counted(tmp_path: Path) -> None:
    record = logging.LogRecord("a", logging.INFO, __file__, 1, "told", None, None)
    with open("/dev/full", "wb") as full, (tmp_path / "log").open("wb") as log:  # noqa: PTH123
        for fd, lost in ((full.fileno(), 1), (None, 1), (log.fileno(), 0)):
            handler = LineHandler(Stdout(fd))
            before = LineHandler.lost
            handler.handle(record)
            assert LineHandler.lost - before == lost
    assert (tmp_path / "log").read_text() == "told\n"


def test_after_a_line_that_was_cut_off_the_next_is_whole() -> None:
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writes, False)
    stdout = Stdout(writes)
    with pytest.raises(OSError, match="cut off"):
        stdout.write("x" * 6000 + "\n")
    with pytest.raises(BlockingIOError):
        stdout.write("no room\n")
    assert set(os.read(reads, 10_000)) == {ord("x")}
    stdout.write("whole\n")
    assert os.read(reads, 100) == b"\nwhole\n"
    os.close(reads)
    os.close(writes)

"""The service killed under load, and a disk that is full: every inspection that was answered is kept."""

import http.client
import json
import signal
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy

from app.database.connection import Database, sqlite_url
from app.database.tables import INSPECTIONS
from app.history.files import FolderFiles
from app.history.verify import Checked, verify
from tests.serving import HOST, app_command, serving

KILLS = 50
CLIENTS = 3
LEAST_ANSWERS = 5  # before each kill, so that every one comes in the middle of work
ANSWERS_LIMIT_S = 60.0
FULL_KIB = 1000  # largest file, in the place of a full disk


class Answered:
    """The ids that clients have received, and the images that they sent for them."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self._lock = threading.Lock()

    def send_until_it_dies(self, port: int, image: bytes) -> None:
        """Send one image after the other until the service is gone."""
        try:
            with closing(http.client.HTTPConnection(HOST, port, timeout=30)) as connection:
                while True:
                    headers = {"Content-Type": "image/png"}
                    connection.request("POST", "/v1/inspections?mask=none", image, headers)
                    answer = connection.getresponse()
                    content = answer.read()
                    if answer.status == 200:
                        with self._lock:
                            self.ids.add(json.loads(content)["id"])
        except (OSError, http.client.HTTPException):
            return


def _kill_once(answered: Answered, bundle: Path, data: Path, images: list[bytes], number: int) -> None:
    before = len(answered.ids)
    with serving(bundle, threads=1, data_dir=data, history="sync", keep_images="all") as service:
        clients = [
            threading.Thread(target=answered.send_until_it_dies, args=(service.port, image))
            for image in images
        ]
        for client in clients:
            client.start()
        until = time.monotonic() + ANSWERS_LIMIT_S
        while len(answered.ids) < before + LEAST_ANSWERS + number % 5:
            assert time.monotonic() < until, "the service answers nothing"
            time.sleep(0.001 * (number % 7 + 1))
        service.process.send_signal(signal.SIGKILL)
        for client in clients:
            client.join()


@pytest.mark.slow
def test_no_answered_inspection_is_lost_by_50_kills(
    bundle_dir: Path, tmp_path: Path, dark: bytes, clean: bytes
) -> None:
    answered, images = Answered(), [dark, clean, dark][:CLIENTS]
    for number in range(KILLS):
        _kill_once(answered, bundle_dir, tmp_path, images, number)
    database = Database.open(sqlite_url(tmp_path))
    with database.reading() as connection:
        kept = set(connection.scalars(sqlalchemy.select(INSPECTIONS.c.id)))
    assert len(answered.ids) >= KILLS * LEAST_ANSWERS
    assert answered.ids - kept == set()
    # More may be kept than was answered, but never half a row, a broken chain or a row without its files.
    assert len(kept) <= len(answered.ids) + KILLS * CLIENTS
    assert list(verify(database, FolderFiles(tmp_path), Checked())) == []
    database.close()


def test_a_full_disk_refuses_and_loses_nothing(bundle_dir: Path, tmp_path: Path, dark: bytes) -> None:
    limited = ["bash", "-c", f'ulimit -f {FULL_KIB}; exec "$@"', "full", *app_command("serve")]
    ids: set[str] = set()
    statuses: list[int] = []
    with (
        serving(bundle_dir, limited, threads=1, data_dir=tmp_path, history="sync") as service,
        closing(http.client.HTTPConnection(HOST, service.port, timeout=30)) as connection,
    ):
        while statuses[-3:] != [503] * 3:
            assert len(statuses) < 2000, "the disk never gets full"
            connection.request("POST", "/v1/inspections", dark, {"Content-Type": "image/png"})
            answer = connection.getresponse()
            said = json.loads(answer.read())
            statuses.append(answer.status)
            if answer.status == 200:
                ids.add(said["id"])
            else:
                assert said["code"] == "database_unusable"
        connection.request("GET", "/metrics")
        assert b"passline_history_failing 1.0" in connection.getresponse().read()
    database = Database.open(sqlite_url(tmp_path))
    with database.reading() as reading:
        assert set(reading.scalars(sqlalchemy.select(INSPECTIONS.c.id))) == ids
    assert ids
    assert list(verify(database, FolderFiles(tmp_path), Checked())) == []
    database.close()

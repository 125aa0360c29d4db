"""The service killed again and again under load: every inspection that a client has the answer of is kept."""

import http.client
import json
import signal
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from app.database.connection import Database, sqlite_url
from app.database.tables import INSPECTIONS
from app.history.files import FolderFiles
from app.history.verify import Checked, verify
from tests.serving import HOST, serving

KILLS = 50
CLIENTS = 3
LEAST_ANSWERS = 5  # before each kill, so that every one comes in the middle of work
ANSWERS_LIMIT_S = 60.0


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
    settings: dict[str, Any] = {"data_dir": data, "history": "sync", "keep_images": "all", "threads": 1}
    with serving(bundle, **settings) as service:
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

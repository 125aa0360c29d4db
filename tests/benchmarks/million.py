"""`python -m tests.benchmarks.million`: how long pages of a history of a million inspections take.

The rows are copies of one real inspection, without images; pages are asked for over HTTP, one at a time, from
the service as it is served. `--database-url` takes an empty PostgreSQL database instead of SQLite.
"""

import argparse
import functools
import http.client
import json
import random
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

import cv2
import numpy as np

from app.database.connection import Database, sqlite_url
from app.database.times import to_us
from app.history.filters import cursor_of
from tests.benchmarks.goals import Goal, goals_table
from tests.benchmarks.million_rows import CAMERAS, CLASSES, DAYS, fill
from tests.benchmarks.ways import SHIPPED, machine
from tests.marked import renew
from tests.serving import HOST, serving
from training.data.synthesis.tiles import generate_tile

ROWS = 1_000_000
ASKED = 60  # times each question is asked
PAGE_MS, STATISTICS_MS = 100, 500  # p95 at most
STATISTICS = "/v1/statistics"
SIZE = (256, 256)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Timed:
    """One question: answers' times in ms, and how many rows an answer had (median)."""

    what: str
    path: str
    ms: tuple[float, ...]
    rows: int

    @property
    def p95(self) -> float:
        """In ms."""
        return float(np.quantile(self.ms, 0.95))


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the rows, measure, print and write."""
    options = _parser().parse_args(arguments)
    with TemporaryDirectory(dir=options.folder) as folder:
        report = measure(Path(folder), options)
    print(report)
    if options.page is not None:
        renew(options.page, options.part, report)


def measure(folder: Path, options: argparse.Namespace) -> str:
    """The tables of all questions, in Markdown."""
    settings: dict[str, Any] = {"history": "sync", "keep_images": "none", "data_dir": folder}
    if options.database_url is not None:
        settings["database_url"] = options.database_url
    with serving(options.bundle, **settings) as service, closing(_client(service.port)) as client:
        _, png = cv2.imencode(".png", generate_tile(1, "crack", SIZE)[0])
        _ask(client, "POST", "/v1/inspections", png.tobytes())
    database = Database.open(options.database_url or sqlite_url(folder))
    started = time.perf_counter()
    fill(database, options.rows)
    filled_s = time.perf_counter() - started
    database.close()
    with serving(options.bundle, **settings) as service, closing(_client(service.port)) as client:
        offered = json.loads(_ask(client, "GET", "/openapi.json"))["paths"]
        timed = [
            _time(client, what, path, query, options.asked)
            for what, path, query in questions()
            if path in offered
        ]
        memory = service.memory_mib("VmHWM")
    about = f"{options.rows:,} rows, made in {filled_s:.0f} s; {_kind(options)}; {machine()}; "
    return _report(about + f"{datetime.now(UTC):%Y-%m-%d}. Memory of the service: {memory:.0f} MiB.", timed)


Query = Callable[[random.Random], dict[str, object]]


def questions() -> list[tuple[str, str, Query]]:
    """What is asked: its name, path, and its query with random values."""
    page = "/v1/inspections"
    asked: list[tuple[str, Query]] = [
        ("the newest", lambda _: {}),
        ("a page further back", lambda chance: {"before": cursor_of(to_us(_moment(chance)), 0)}),
        ("500 rows of a page", lambda chance: {"limit": 500}),
        ("one hour", lambda chance: _between(chance, timedelta(hours=1))),
        ("one camera", lambda chance: {"camera": chance.choice(CAMERAS)}),
        ("two cameras", lambda _: {"camera": CAMERAS[:2]}),
        ("a camera with few rows", lambda _: {"camera": "laboratory"}),
        ("a camera without rows", lambda _: {"camera": "none"}),
        ("fails of a camera", lambda chance: {"camera": chance.choice(CAMERAS), "verdict": "fail"}),
        (
            "fails and reviews of one day",
            lambda c: {"verdict": ["fail", "review"], **_between(c, timedelta(days=1))},
        ),
        ("a class", lambda chance: {"class": chance.choice(CLASSES)}),
        ("a class with few rows", lambda _: {"class": "rare"}),
        ("a class without rows", lambda _: {"class": "none"}),
        ("a recipe", lambda _: {"recipe": "strict"}),
        ("a recipe with few rows", lambda _: {"recipe": "rare"}),
        ("a recipe without rows", lambda _: {"recipe": "none"}),
        ("a bundle with few rows", lambda _: {"bundle": "magnetic-tile/1"}),
        ("a bundle without rows", lambda _: {"bundle": "none/1"}),
        ("reviewed", lambda _: {"reviewed": "true"}),
        ("fails not reviewed", lambda _: {"reviewed": "false", "verdict": "fail"}),
        ("a part", lambda chance: {"part": f"P-{chance.randrange(ROWS):07d}"}),
        ("text: a part", lambda chance: {"text": f"P-{chance.randrange(ROWS):07d}"}),
        ("text: the start of all parts", lambda _: {"text": "P-"}),
        ("text: the start of 10,000 files", lambda chance: {"text": f"frame-0{chance.randrange(100):02d}"}),
        ("text: of none", lambda _: {"text": "nothing"}),
        ("passes reviewed, none", lambda _: {"reviewed": "true", "verdict": "pass"}),
    ]
    windows = [
        (f"{number} days by {by}", number, by) for number, by in ((1, "hour"), (30, "day"), (90, "day"))
    ]
    return [(what, page, query) for what, query in asked] + [
        (what, STATISTICS, functools.partial(_last_days, number, by)) for what, number, by in windows
    ]


def _last_days(days: int, by: str, _: random.Random) -> dict[str, object]:
    return {"from": (datetime.now(UTC) - timedelta(days=days)).isoformat(), "by": by}


def _between(chance: random.Random, length: timedelta) -> dict[str, object]:
    start = _moment(chance)
    return {"from": start.isoformat(), "to": (start + length).isoformat()}


def _moment(chance: random.Random) -> datetime:
    return datetime.now(UTC) - timedelta(days=DAYS * chance.random())


def _time(client: http.client.HTTPConnection, what: str, path: str, query: Query, times: int) -> Timed:
    chance, taken, rows = random.Random(what), [], []
    for _ in range(times):
        target = f"{path}?{urlencode(query(chance), doseq=True)}"
        started = time.perf_counter()
        answer = _ask(client, "GET", target)
        taken.append((time.perf_counter() - started) * 1000)
        rows.append(len(json.loads(answer).get("items", ())))
    return Timed(what, path, tuple(taken), int(np.median(rows)))


def _client(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(HOST, port, timeout=120)


def _ask(client: http.client.HTTPConnection, method: str, target: str, body: bytes | None = None) -> bytes:
    headers = {} if body is None else {"Content-Type": "image/png"}
    client.request(method, target, body, headers)
    answer = client.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{method} {target}: {answer.status} {content[:500]!r}")
    return content


def _report(about: str, timed: Sequence[Timed]) -> str:
    rows = [
        f"| {each.what} | {each.rows if each.path != STATISTICS else '–'} | {np.median(each.ms):.1f} "
        f"| {each.p95:.1f} | {max(each.ms):.1f} |"
        for each in timed
    ]
    goals = []
    for what, path, bound in (
        ("slowest page", "/v1/inspections", PAGE_MS),
        ("statistics", STATISTICS, STATISTICS_MS),
    ):
        if found := [each.p95 for each in timed if each.path == path]:
            goals.append(Goal(f"{what}, p95", bound, "at most", max(found), "ms"))
    head = ["| asked for | rows | p50, ms | p95, ms | max, ms |", "|---|---|---|---|---|"]
    return "\n".join([about, "", *head, *rows, "", *goals_table(goals)])


def _kind(options: argparse.Namespace) -> str:
    return "SQLite" if options.database_url is None else "PostgreSQL"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.million", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--asked", type=int, default=ASKED, help="times each question is asked")
    parser.add_argument("--bundle", type=Path, default=SHIPPED)
    parser.add_argument("--folder", type=Path, help="where the database is made for the time; 3 GB")
    parser.add_argument("--database-url", help="an empty PostgreSQL database")
    parser.add_argument("--page", type=Path, help="the page with the markers to write between, if any")
    parser.add_argument("--part", default="million", help="the name of the markers")
    return parser


if __name__ == "__main__":
    main()

"""The clients of the soak: whatever a line, its people and its faults send, each answer checked."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.inspection.bundle.bundle import Bundle
from tests.benchmarks.load import BOUNDARY, Answer, Connection, connected, request
from tests.benchmarks.mixture import Case, Said, Size, alone, bad_cases, good_cases, judged, said

RECIPE = "soak"  # changed all the time, between what these two say
STRICT, LENIENT = "soak-strict", "soak-lenient"
BATCH = 6  # pictures
CAMERAS = ("line-1", "line-2")


@dataclass
class Traffic:
    """What is sent, what must come back, and the account of what did."""

    port: int
    good: list[Case]
    bad: list[Case]
    texts: Mapping[str, str]  # what the recipes say that `RECIPE` changes between
    wanted: Mapping[str, Mapping[str, Said]]  # by recipe, "" being the default, and by case
    pictures: int = 0
    changes: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, kind: str, pictures: int, complaints: list[str]) -> None:
        """Take down one request."""
        with self.lock:
            self.requests[kind] += 1
            self.pictures += pictures
            self.wrong += [f"{kind}: {each}" for each in complaints]


def traffic_for(bundle: Path, port: int, sizes: Sequence[Size]) -> Traffic:
    """Ask everything once, alone, so that it is known how each must be answered."""
    classes = Bundle.load(bundle).class_names
    texts = {STRICT: limits(classes, 0), LENIENT: limits(classes, 1_000_000)}
    good, bad = good_cases(sizes), bad_cases()
    with connected(port) as connection:
        wanted = {"": alone(connection, [*good, *bad])}
        for name, text in texts.items():
            _put(connection, name, text)
            wanted[name] = alone(connection, good, f"?recipe={name}")
        _put(connection, RECIPE, texts[STRICT])
    return Traffic(port, good, bad, texts, wanted, changes=1)


def flow(traffic: Traffic, clients: int, seconds: float, seed: int) -> None:
    """Let so many clients send what comes to their minds for so long."""
    until = time.monotonic() + seconds
    at_work = [
        _Client(traffic, random.Random(f"{seed}-{number}"), until, number == 0) for number in range(clients)
    ]
    for each in at_work:
        each.start()
    for each in at_work:
        each.join()


class _Client(threading.Thread):
    """One client with a kept connection; only the one who `changes` recipes does."""

    def __init__(self, traffic: Traffic, chance: random.Random, until: float, changes: bool) -> None:
        super().__init__()
        self._traffic, self._chance, self._until = traffic, chance, until
        self._weights: dict[Callable[[Connection], None], int] = {
            self._picture: 40,
            self._by_changing_recipe: 15,
            self._drawn: 8,
            self._batch: 4,
            self._bad: 15,
            self._leave: 6,
            self._metrics: 2,
            self._change: 3 if changes else 0,
        }

    def run(self) -> None:
        """Send until the time is up; what fails is wrong."""
        ways, weights = list(self._weights), list(self._weights.values())
        try:
            with connected(self._traffic.port) as connection:
                while time.monotonic() < self._until:
                    (way,) = self._chance.choices(ways, weights)
                    way(connection)
        except (OSError, LookupError, ValueError) as error:
            self._traffic.count("client", 0, [f"{type(error).__name__}: {error}"])

    def _picture(self, connection: Connection) -> None:
        case = self._chance.choice(self._traffic.good)
        camera = self._chance.choice(CAMERAS)
        answer = connection.ask(case.request(f"?camera_id={camera}"))
        self._judged("images", case, "", answer)

    def _by_changing_recipe(self, connection: Connection) -> None:
        case = self._chance.choice(self._traffic.good)
        answer = connection.ask(case.request(f"?recipe={RECIPE}"))
        version = json.loads(answer.body)["recipe_version"] if answer.status == 200 else 0
        self._judged("images with a changing recipe", case, STRICT if version % 2 else LENIENT, answer)

    def _drawn(self, connection: Connection) -> None:
        case = self._chance.choice(self._traffic.good)
        what = self._chance.choice(("certificate", "heatmap", "overlay"))
        answer = connection.ask(case.request(f"?{what}=true"))
        drawn = answer.status == 200 and json.loads(answer.body)[what]
        self._judged("certificates and overlays", case, "", answer)
        if not drawn:
            self._traffic.count("drawn", 0, [f"no {what}"])

    def _bad(self, connection: Connection) -> None:
        case = self._chance.choice(self._traffic.bad)
        self._judged("not inspectable", case, "", connection.ask(case.request()))

    def _judged(self, kind: str, case: Case, recipe: str, answer: Answer) -> None:
        found, wanted = said(answer), self._traffic.wanted[recipe][case.name]
        complaint = f"{case.name}: {found.status} {found.verdict}, not {wanted.status} {wanted.verdict}"
        if (found.status, found.verdict) == (wanted.status, wanted.verdict):
            complaint += ", with another mask"
        self._traffic.count(kind, int(found.status == 200), [] if found == wanted else [complaint])

    def _batch(self, connection: Connection) -> None:
        in_forms = [case for case in self._traffic.bad if case.media_type == "image/png"]
        cases = [self._chance.choice([*self._traffic.good, *in_forms]) for _ in range(BATCH)]
        answer = connection.ask(batch_request(cases))
        if answer.status != 200:
            self._traffic.count("batches", 0, [f"{answer.status} {answer.body[:200]!r}"])
            return
        found = [
            Said(200, *judged(each["inspection"])) if each["inspection"] else Said(each["problem"]["status"])
            for each in json.loads(answer.body)["results"]
        ]
        wanted = [self._traffic.wanted[""][case.name] for case in cases]
        pictures = sum(each.status == 200 for each in found)
        self._traffic.count("batches", pictures, [] if found == wanted else ["another answer than alone"])

    def _leave(self, _: Connection) -> None:
        """Leave in the middle of a request, or before its answer."""
        data = self._chance.choice(self._traffic.good).request()
        with connected(self._traffic.port) as connection:
            connection.send(data[: self._chance.choice((len(data) // 2, len(data)))])
        self._traffic.count("aborted", 0, [])

    def _metrics(self, connection: Connection) -> None:
        answer = connection.ask(request("/metrics", "text/plain", b"", "GET"))
        self._traffic.count("metrics", 0, [] if answer.status == 200 else [str(answer.status)])

    def _change(self, connection: Connection) -> None:
        """Versions of an odd number are strict."""
        _put(connection, RECIPE, self._traffic.texts[LENIENT if self._traffic.changes % 2 else STRICT])
        self._traffic.changes += 1
        self._traffic.count("recipe changes", 0, [])


def limits(classes: tuple[str, ...], most: int) -> str:
    """What a recipe says that takes so many defects of each class."""
    return "limits:\n" + "".join(f"  {name}: {{max_count: {most}}}\n" for name in classes)


def batch_request(cases: list[Case]) -> bytes:
    """A whole request for a batch."""
    parts = []
    for number, case in enumerate(cases):
        head = f'Content-Disposition: form-data; name="images"; filename="{number}"\r\n'
        head += "Content-Type: image/png\r\n\r\n"
        parts.append(f"--{BOUNDARY}\r\n{head}".encode() + case.body + b"\r\n")
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    return request("/v1/inspections/batch", f"multipart/form-data; boundary={BOUNDARY}", body)


def _put(connection: Connection, name: str, says: str) -> None:
    text = f"name: {name}\n{says}"
    answer = connection.ask(request(f"/v1/recipes/{name}?who=soak", "application/yaml", text.encode(), "PUT"))
    if answer.status != 200:
        raise ValueError(f"recipe {name}: {answer.status} {answer.body[:300]!r}")

"""`python -m tests.benchmarks.swap`: what live pictures notice of another bundle being loaded and promoted.

Clients post one picture without a pause before, during and after some swaps. The second bundle is a copy of
the first that lets this picture pass, so that each answer's verdict shows which bundle judged it.
"""

import argparse
import hashlib
import http.client
import json
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from app.inspection.bundle.bundle import Bundle
from tests.benchmarks.ways import machine
from tests.markdown import ROOT
from tests.serving import HOST, serving

BUNDLE = ROOT / "models/magnetic-tile/6"
OTHER_VERSION = "copy"
LOAD_LIMIT_S = 120


@dataclass(frozen=True)
class Asked:
    """One request: when, for how long, and what came of it; `wrong` says what should not have."""

    began: float
    seconds: float
    version: str
    wrong: str | None


@dataclass
class Traffic:
    """Clients that post one picture again and again until told to stop."""

    port: int
    picture: bytes
    verdicts: dict[str, str]  # by the version of the bundle
    stop: threading.Event = field(default_factory=threading.Event)
    asked: list[Asked] = field(default_factory=list)

    def client(self) -> None:
        """Be one client."""
        with closing(http.client.HTTPConnection(HOST, self.port)) as connection:
            while not self.stop.is_set():
                began = time.perf_counter()
                status, answer = call(
                    connection, "POST", "/v1/inspections?mask=none", self.picture, "image/png"
                )
                seconds = time.perf_counter() - began
                version = answer["model"]["version"] if status == http.HTTPStatus.OK else "none"
                self.asked.append(Asked(began, seconds, version, self._wrong(status, answer)))

    def _wrong(self, status: int, answer: Any) -> str | None:
        if status != http.HTTPStatus.OK:
            return f"status {status}: {answer}"
        version, verdict = answer["model"]["version"], answer["verdict"]
        if self.verdicts.get(version) == verdict:
            return None
        return f"version {version} said {verdict}"


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; the exit status is 1 if any request failed or an answer contradicts itself."""
    options = _parser().parse_args(arguments)
    with TemporaryDirectory() as place:
        folder = Path(place)
        first, picture = _bundles(options.bundle, folder)
        places: dict[str, Any] = {"bundles_dir": folder / "bundles"}
        settings: dict[str, Any] = {"threads": options.threads} if options.threads else {}
        with serving(first, device="cpu", log_level="warning", **places, **settings) as service:
            versions = {first.name: "fail", OTHER_VERSION: "pass"}
            traffic = Traffic(service.port, picture, versions)
            swaps = _run(traffic, first.parent.name, options)
    print(f"{options.clients} clients, {len(swaps)} swaps; {machine()}\n")
    print(_report(traffic.asked, swaps))
    wrong = [each.wrong for each in traffic.asked if each.wrong is not None]
    print(f"\n{len(traffic.asked)} requests, {len(wrong)} failed or contradicting themselves", *wrong[:5])
    return 1 if wrong else 0


def call(connection: http.client.HTTPConnection, method: str, path: str, *body: Any) -> tuple[int, Any]:
    """Status and JSON of one request; `body` is its bytes and their media type."""
    headers = {"Content-Type": body[1]} if body else {}
    connection.request(method, path, body[0] if body else None, headers)
    response = connection.getresponse()
    return response.status, json.load(response)


def _run(traffic: Traffic, name: str, options: argparse.Namespace) -> list[tuple[float, float]]:
    """The traffic with all swaps; each swap's begin and end, from the request to load to the promotion."""
    swaps = []
    with ThreadPoolExecutor(options.clients) as threads:
        clients = [threads.submit(traffic.client) for _ in range(options.clients)]
        try:
            time.sleep(options.seconds)
            for number in range(options.swaps):
                version = [OTHER_VERSION, Bundle.load(options.bundle).version][number % 2]
                swaps.append(_swap(traffic.port, {"name": name, "version": version}))
                time.sleep(options.seconds if number == options.swaps - 1 else 1)
        finally:
            traffic.stop.set()
        for client in clients:
            client.result()
    return swaps


def _swap(port: int, wanted: dict[str, str]) -> tuple[float, float]:
    with closing(http.client.HTTPConnection(HOST, port)) as connection:
        began = time.perf_counter()
        status, answer = call(
            connection, "PUT", "/v1/bundles/candidate", json.dumps(wanted), "application/json"
        )
        if status == http.HTTPStatus.ACCEPTED:
            status, answer = call(connection, "GET", f"/v1/bundles/candidate?wait_s={LOAD_LIMIT_S}")
        if answer.get("state") != "ready":
            raise RuntimeError(f"the candidate is not ready: {answer}")
        status, answer = call(connection, "POST", "/v1/bundles/candidate/promotion")
        if status != http.HTTPStatus.OK:
            raise RuntimeError(f"it was not promoted: {answer}")
        return began, time.perf_counter()


def _report(asked: list[Asked], swaps: list[tuple[float, float]]) -> str:
    first, last = swaps[0][0], swaps[-1][1]
    phases = {
        "before": [each for each in asked if each.began + each.seconds <= first],
        "during": [
            each for each in asked if any(each.began < b and each.began + each.seconds > a for a, b in swaps)
        ],
        "after": [each for each in asked if each.began >= last],
    }
    rows = ["| phase | requests | p50, ms | p99, ms | most, ms |", "|---|---|---|---|---|"]
    for name, those in phases.items():
        ms = np.array([each.seconds * 1000 for each in those])
        p50, p99 = np.percentile(ms, (50, 99))
        rows.append(f"| {name} | {len(those)} | {p50:.0f} | {p99:.0f} | {ms.max():.0f} |")
    took = ", ".join(f"{end - begin:.2f} s" for begin, end in swaps)
    return "\n".join([*rows, "", f"from the request to load until promoted: {took}"])


def _bundles(source: Path, folder: Path) -> tuple[Path, bytes]:
    """The bundle and its copy below `folder`/bundles, and a golden picture that they judge differently."""
    bundle = Bundle.load(source)
    place = folder / "bundles" / bundle.name
    for version in (bundle.version, OTHER_VERSION):
        shutil.copytree(source, place / version)
    copy = place / OTHER_VERSION
    manifest = json.loads((copy / "bundle.json").read_text())
    sample, *_, strict = (each for each in manifest["golden"] if each["verdict"] == "fail")
    limits = f"limits: {{{strict['answers'][0]['main_class']}: {{max_count: 0}}}}\n"  # one sample must fail
    recipe = f"name: {bundle.default_recipe.name}\nother: {{max_count: 100000}}\n{limits}"
    (copy / manifest["recipe"]).write_text(recipe)
    manifest |= {"version": OTHER_VERSION, "recipe_sha256": hashlib.sha256(recipe.encode()).hexdigest()}
    for each in manifest["golden"]:
        if each is strict:
            continue
        each["verdict"] = "pass"
        for answer in each.get("answers", []):
            answer["verdict"] = "pass"
    (copy / "bundle.json").write_text(json.dumps(manifest))
    return place / bundle.version, (copy / sample["image"]).read_bytes()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.swap", description=__doc__)
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--threads", type=int, help="PASSLINE_THREADS (default: as the service decides)")
    parser.add_argument("--swaps", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="of traffic before and after the swaps")
    return parser


if __name__ == "__main__":
    sys.exit(main())

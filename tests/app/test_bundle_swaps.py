"""What a swap leaves alone: images in work, recipes made meanwhile, the memory, and the next start."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.api.bundles import candidate
from app.change_errors import CandidateNotFound
from app.database.connection import Database, sqlite_url
from app.inspection.errors import RecipeInvalid, SelfTestFailed
from app.inspection.inspector import Inspector
from app.jobs.job import Upload
from app.jobs.loading import load_inspector
from app.recipes.history import History
from app.recipes.state import Edit
from app.recipes.store import RecipeStore
from app.schemas.bundles import BundleName, Wait
from app.schemas.inspections import InspectionAnswer, Options
from app.schemas.recipes import By
from app.service import REST, Service
from app.telemetry.metrics import Metrics
from tests.app.test_batch import batch
from tests.app.test_bundles import ONLY_BRIGHT, SPECK, WAIT_S, judged_by, promote, propose, settled
from tests.app.test_bundles import bundles_dir as bundles_dir
from tests.app.test_bundles import make as make
from tests.app.test_inspections import post, refused
from tests.tiny_bundle import GRAIN, png, tiny_picture, write_tiny_bundle

MakeClient = Callable[..., TestClient]


def service_of(client: TestClient) -> Service:
    """The service behind a client."""
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    return service


def on_loop(client: TestClient, work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work` gives on the service's own event loop."""
    assert client.portal is not None
    return client.portal.call(work, *arguments)


@contextmanager
def held_up(client: TestClient) -> Iterator[None]:
    """While the block runs the service's one worker is busy, so that images wait."""
    service, go_on = service_of(client), threading.Event()

    async def occupy() -> None:
        until = asyncio.get_running_loop().time() + WAIT_S
        job = service.loaded.job(Upload(None, b""), Options())
        await service.run_when_room(lambda _: go_on.wait(WAIT_S), job, until)

    assert client.portal is not None
    occupied = client.portal.start_task_soon(occupy)
    try:
        while service.is_idle:
            time.sleep(0.001)
        yield
    finally:
        go_on.set()
    occupied.result(WAIT_S)


def waiting(client: TestClient, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """A request that has chosen what judges it and waits for the worker."""
    pool = ThreadPoolExecutor(1)
    asked = pool.submit(work, client, *arguments)
    pool.shutdown(wait=False)
    while not service_of(client).is_waited_for:
        time.sleep(0.001)
    return asked


def test_what_has_begun_is_finished_by_the_bundle_it_began_with(make: MakeClient) -> None:
    client = make(workers=1)
    propose(client, "2")
    with held_up(client):
        single = waiting(client, post, SPECK)
        promote(client)
        assert service_of(client).is_waited_for
        assert client.get("/readyz").json()["model"]["version"] == "2"
    answer = single.result(WAIT_S)
    assert (answer["model"]["version"], answer["verdict"]) == ("1", "fail")
    assert judged_by(client) == "2"


def test_a_batch_is_judged_by_one_bundle_throughout(make: MakeClient) -> None:
    client = make(workers=1)
    propose(client, "2")
    with held_up(client):
        asked = waiting(client, batch, [SPECK] * 3)
        promote(client)
    found = [each["inspection"] for each in asked.result(WAIT_S)["results"]]
    assert [(each["model"]["version"], each["verdict"]) for each in found] == [("1", "fail")] * 3
    assert judged_by(client) == "2"


def test_no_request_fails_and_each_answer_is_of_the_bundle_it_names(make: MakeClient) -> None:
    client = make()
    stop = threading.Event()

    def ask() -> list[tuple[str, str]]:
        answers = []
        while not stop.is_set():
            answer = post(client, SPECK)
            answers.append((answer["model"]["version"], answer["verdict"]))
        return answers

    with ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(ask) for _ in range(3)]
        try:
            for version in ("2", "1", "2"):
                propose(client, version, shadow=True)
                promote(client)
            client.post("/v1/bundles/rollback")
        finally:
            stop.set()
    answers = [answer for each in asked for answer in each.result()]
    assert set(answers) == {("1", "fail"), ("2", "pass")}


def test_answers_of_the_bundle_before_are_no_drift_of_the_new_one(
    make_client: MakeClient, tmp_path: Path
) -> None:
    gated = make_client(bundle_dir=write_tiny_bundle(tmp_path / "tiny", gate=True), drift_window=1)
    answer = InspectionAnswer.model_validate(post(gated, png(tiny_picture(96, 80, grain=GRAIN))))
    service = service_of(gated)
    gate = service.loaded.inspector.session.artifact.gate
    for version, drifts in (("0", 0), (answer.model.version, 1)):
        metrics = Metrics(cameras=1, window=1)
        metrics.loaded(answer.model.model_copy(update={"version": version}), gate)
        metrics.inspected(answer)
        assert (b"passline_gate_psi{" in metrics.text()) == bool(drifts)


def test_the_active_bundle_judges_while_another_loads_and_when_it_was_dropped(
    make: MakeClient, bundles_dir: Path
) -> None:
    client = make()
    service, go_on, begun = service_of(client), threading.Event(), threading.Event()

    def slow() -> Inspector:
        begun.set()
        go_on.wait(WAIT_S)
        return load_inspector(bundles_dir / "tiny" / "2", service.settings)

    async def load_aside() -> None:
        service.bundles.load_aside(BundleName(name="tiny", version="2"), By(), slow)

    on_loop(client, load_aside)
    assert begun.wait(WAIT_S)
    assert client.get("/v1/bundles/candidate").json()["state"] == "loading"
    refused(client.post("/v1/bundles/candidate/promotion"), 409, "candidate_not_ready")
    assert judged_by(client) == "1"
    assert client.delete("/v1/bundles/candidate").json()["state"] == "loading"
    asked = client.put("/v1/bundles/candidate", json={"name": "tiny", "version": "3"})
    assert asked.json()["state"] == "loading"  # it waits for its turn
    go_on.set()
    assert (settled(client)["version"], settled(client)["state"]) == ("3", "ready")
    assert judged_by(client) == "1"


def test_whoever_waits_for_a_candidate_that_is_dropped_is_told_so(make: MakeClient) -> None:
    service, go_on = service_of(client := make()), threading.Event()

    def slow() -> Inspector:
        go_on.wait(WAIT_S)
        raise SelfTestFailed("nobody asks any more")

    async def drop_while_waited_for() -> None:
        dropped = service.bundles.load_aside(BundleName(name="tiny", version="2"), By(), slow)
        asked = asyncio.create_task(candidate(service, Wait(wait_s=WAIT_S)))
        await asyncio.sleep(0)
        await service.bundles.drop(dropped)
        with pytest.raises(CandidateNotFound):
            await asked

    try:
        on_loop(client, drop_while_waited_for)
    finally:
        go_on.set()


def test_a_recipe_made_during_the_promotion_must_fit_the_new_bundle(
    bundles_dir: Path, tmp_path: Path
) -> None:
    old, new = (Inspector.load(bundles_dir / "tiny" / version, "cpu", 1) for version in "13")
    store = RecipeStore(old, History(Database.open(sqlite_url(tmp_path)), None), None)
    kept, go_on = threading.Event(), threading.Event()

    def keep() -> None:
        kept.set()
        assert go_on.wait(WAIT_S)

    with ThreadPoolExecutor(2) as threads:
        promoted = threads.submit(store.serve, new, keep)
        assert kept.wait(WAIT_S)
        made = threads.submit(store.put, "shiny", ONLY_BRIGHT, Edit(By()))
        assert store.state.inspector is old
        go_on.set()
        promoted.result(WAIT_S)
        with pytest.raises(RecipeInvalid, match=r"limits\.bright"):
            made.result(WAIT_S)
    assert store.state.inspector is new
    assert store.state.recipes.names == ["tiny"]


def test_a_load_aside_rests_while_live_pictures_are_judged(make: MakeClient) -> None:
    service = service_of(client := make())
    taken: list[float] = []
    inspector = service.loaded.inspector
    inspector.self_test(taken.append)
    assert len(taken) == len(inspector.bundle.golden) + 1  # after each, and after batches of every size
    assert all(seconds > 0 for seconds in taken)
    with held_up(client):
        began = time.perf_counter()
        service.rest(0.02)
        assert time.perf_counter() - began >= REST * 0.02
    began = time.perf_counter()
    service.rest(WAIT_S)
    assert time.perf_counter() - began < WAIT_S


def test_another_session_of_the_same_bundle_takes_over_and_nothing_need_be_kept(
    make: MakeClient, bundles_dir: Path
) -> None:
    client = make()
    service = service_of(client)
    before = service.loaded.inspector

    async def load_aside() -> None:
        folder, bundle = bundles_dir / "tiny" / "1", BundleName(name="tiny", version="1")
        service.bundles.load_aside(bundle, By(), lambda: load_inspector(folder, service.settings))

    on_loop(client, load_aside)
    assert settled(client)["state"] == "ready"
    promote(client)
    assert service.loaded.inspector is not before
    assert judged_by(client) == "1"
    assert client.post("/v1/bundles/rollback").json()["kept"] is True
    assert service.loaded.inspector is before
    assert client.get("/v1/bundles/changes").json()["changes"] == []


def freed(reference: "weakref.ref[Inspector]") -> bool:
    """Whether it is gone, at once or as soon as the thread that loaded it has ended its last line."""
    for _ in range(100):
        gc.collect()
        if reference() is None:
            return True
        time.sleep(0.05)
    return False


def test_what_is_let_go_of_is_freed(make: MakeClient, bundles_dir: Path) -> None:
    client = make()
    service = service_of(client)
    seen: list[weakref.ref[Inspector]] = []

    def failing() -> Inspector:
        inspector = load_inspector(bundles_dir / "tiny" / "2", service.settings)
        seen.append(weakref.ref(inspector))
        raise SelfTestFailed("on purpose")

    async def load_aside() -> None:
        service.bundles.load_aside(BundleName(name="tiny", version="2"), By(), failing)

    on_loop(client, load_aside)
    assert settled(client)["problem"] == {"code": "self_test_failed", "detail": "on purpose"}
    assert freed(seen[0]), "a failed candidate"

    def held(version: str) -> weakref.ref[Inspector]:
        assert propose(client, version, shadow=True)["state"] == "ready"
        post(client, SPECK)
        candidate = service.bundles.candidate.inspector
        assert candidate is not None
        return weakref.ref(candidate)

    dropped = held("2")
    client.delete("/v1/bundles/candidate")
    replaced = held("2")
    promoted = held("3")
    promote(client)
    assert judged_by(client) == "3"
    client.post("/v1/bundles/rollback")
    assert judged_by(client) == "1"
    assert all(map(freed, (dropped, replaced, promoted)))

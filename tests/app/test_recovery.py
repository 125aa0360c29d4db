"""A provider that is lost while serving: no pass, no readiness, and back by itself once the self-test holds.

The graph is a real one that ONNX Runtime fails to run where an image has a white pixel.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from starlette.testclient import TestClient

from app.inspection.bundle.bundle import Bundle
from app.inspection.errors import DeviceUnavailable
from app.inspection.inference.session import OnnxSession
from app.inspection.inspector import Inspector
from app.jobs import recovery
from app.jobs.recovery import FAILURES, renewed
from app.settings import Settings
from tests.app.test_batch import batch
from tests.app.test_bundle_swaps import service_of
from tests.app.test_bundles import promote, propose
from tests.app.test_inspections import post, refused
from tests.app.test_telemetry import samples
from tests.inspection.test_session import bundle_with_graph
from tests.tiny_bundle import png, tiny_graph, write_tiny_bundle


def graph_that_fails_on_white() -> bytes:
    """A tiny graph that looks up a number in a table of one, and for white in its second place."""
    model = onnx.load_model_from_string(tiny_graph(2, 64, 1))
    make = onnx.helper.make_node
    table = onnx.numpy_helper.from_array(np.array([0], np.float32), "table")
    limit = onnx.numpy_helper.from_array(np.array(254, np.float32), "limit")
    model.graph.initializer.extend([table, limit])
    last = model.graph.node.pop()
    model.graph.node.extend(
        [
            make("ReduceMax", ["float"], ["whitest"], keepdims=0),
            make("Greater", ["whitest", "limit"], ["is_white"]),
            make("Cast", ["is_white"], ["place"], to=onnx.TensorProto.INT64),
            make("Gather", ["table", "place"], ["nothing"]),
            make("Add", ["highest", "nothing"], ["same"]),
        ]
    )
    last.input[0] = "same"
    model.graph.node.append(last)
    return bytes(model.SerializeToString())


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return bundle_with_graph(tmp_path / "tiny", graph_that_fails_on_white()).directory


@pytest.fixture
def client(
    make_client: Callable[..., TestClient], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> TestClient:
    monkeypatch.setattr(recovery, "WAITS_S", (0.0, 0.02))
    return make_client(bundle_dir=directory)


@pytest.fixture(scope="module")
def white() -> bytes:
    return png(np.full((80, 96), 255, np.uint8))


def fail(client: TestClient, picture: bytes) -> None:
    refused(client.post("/v1/inspections", files={"image": picture}), 500, "inference_failed")


def until_ready(client: TestClient) -> None:
    until = time.monotonic() + 20
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_now_and_then_a_failed_run_costs_its_own_picture_alone(
    client: TestClient, white: bytes, clean: bytes
) -> None:
    for _ in range(FAILURES):
        for _ in range(FAILURES - 1):
            fail(client, white)
        assert post(client, clean)["verdict"] == "pass"
    counts = batch(client, [white, clean, white])["counts"]
    assert (counts["passed"], counts["problems"]) == (1, 2)
    assert client.get("/readyz").status_code == 200


def test_failures_in_a_row_end_readiness_until_the_self_test_holds_again(
    client: TestClient, directory: Path, white: bytes, clean: bytes
) -> None:
    graph = (directory / "model.onnx").read_bytes()
    (directory / "model.onnx").unlink()  # no new session comes up
    for _ in range(FAILURES):
        fail(client, white)
    problem = refused(client.get("/readyz"), 503, "not_ready")
    assert str(FAILURES) in problem["detail"]
    for picture in (clean, white):
        refused(client.post("/v1/inspections", files={"image": picture}), 503, "not_ready")
    refused(client.post("/v1/inspections/batch", files=[("images", clean)]), 503, "not_ready")
    found = samples(client)
    assert (found["passline_ready", ()], found["passline_failed_runs", ()]) == (0, FAILURES)
    until = time.monotonic() + 20
    while refused(client.get("/readyz"), 503, "not_ready")["cause"]["code"] != "bundle_corrupt":
        assert time.monotonic() < until
    (directory / "model.onnx").write_bytes(graph)
    until_ready(client)
    assert post(client, clean)["verdict"] == "pass"
    assert samples(client)["passline_failed_runs", ()] == 0
    for _ in range(FAILURES):  # and a second time
        fail(client, white)
    until_ready(client)
    assert post(client, clean)["verdict"] == "pass"


def test_what_waited_meanwhile_is_not_answered_by_the_lost_session(
    make_client: Callable[..., TestClient], directory: Path, white: bytes, clean: bytes
) -> None:
    """All of it was sent while the service was ready; from the last failure on nothing passes."""
    client = make_client(bundle_dir=directory, workers=1)
    (directory / "model.onnx").unlink()
    pictures = [white] * FAILURES + [clean] * 5
    results = batch(client, pictures)["results"]
    codes = [each["problem"]["code"] for each in results]
    assert codes == ["inference_failed"] * FAILURES + ["not_ready"] * 5


def test_a_bundle_gone_back_to_gets_its_provider_back_too(
    make_client: Callable[..., TestClient],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    white: bytes,
    clean: bytes,
) -> None:
    """The sound bundle that judged meanwhile stays as it was."""
    monkeypatch.setattr(recovery, "WAITS_S", (0.0, 0.02))
    write_tiny_bundle(tmp_path / "tiny" / "2", version="2")
    directory = bundle_with_graph(tmp_path / "tiny" / "1", graph_that_fails_on_white()).directory
    client = make_client(bundle_dir=directory, bundles_dir=tmp_path)
    graph = (directory / "model.onnx").read_bytes()
    (directory / "model.onnx").unlink()
    for _ in range(FAILURES):
        fail(client, white)
    refused(client.get("/readyz"), 503, "not_ready")
    propose(client, "2")
    promote(client)
    promoted = service_of(client).bundles.active
    until = time.monotonic() + 20
    while samples(client)["passline_failed_runs", ()] > 0:  # nothing is tried any more
        assert time.monotonic() < until
        time.sleep(0.01)
    assert service_of(client).bundles.active is promoted  # in the session it came with
    assert client.post("/v1/bundles/rollback").status_code == 200
    refused(client.get("/readyz"), 503, "not_ready")
    (directory / "model.onnx").write_bytes(graph)
    until_ready(client)
    answer = post(client, clean)
    assert (answer["verdict"], answer["model"]["version"]) == ("pass", "1")


def test_another_provider_does_not_take_over_by_itself(directory: Path) -> None:
    bundle = Bundle.load(directory)
    session = OnnxSession(bundle, "cpu", 1)
    session.execution_provider = "CUDAExecutionProvider"  # as it was before the GPU was lost
    inspector = Inspector(bundle, session)
    with pytest.raises(DeviceUnavailable, match="CUDAExecutionProvider does not come up again"):
        renewed(inspector, Settings(threads=1))
    assert "CPUExecutionProvider" in ort.get_available_providers()

"""Bundles made to hold the service up, or to decide verdicts by something that no hash covers."""

import http.client
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.attacks.callers import inspected
from tests.hostile_graphs import endless_loop, external_data, spoil
from tests.markdown import ROOT
from tests.serving import Serving, serving
from tests.tiny_bundle import write_tiny_bundle

PATIENCE_S = 120.0
TRIAL_S = 40  # a sound bundle's trial takes one or two on an idle machine


def slow_for_ever(model: onnx.ModelProto) -> bytes:
    """Hundreds of convolutions by 33 x 33 of 64 channels; each is some 36 billion operations for a tile."""
    weight = helper.make_tensor("value", TensorProto.FLOAT, [1], [1e-6])
    nodes = [
        helper.make_node("ConstantOfShape", ["s_shape"], ["s_kernel"], value=weight),
        helper.make_node("Concat", ["brightness"] * 64, ["s_0"], axis=1),
    ]
    count = 400
    for n in range(count):
        nodes.append(helper.make_node("Conv", [f"s_{n}", "s_kernel"], [f"s_{n + 1}"], pads=[16] * 4))
    nodes += [
        helper.make_node("ReduceMax", [f"s_{count}"], ["s_highest"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["s_highest", "s_nothing"], ["s_zero"]),
        helper.make_node("Add", ["s_zero", "highest"], ["s_last"]),
    ]
    last = model.graph.node[-1]
    assert list(last.output) == ["image_probability"]
    last.input[0] = "s_last"
    del model.graph.node[-1]
    model.graph.node.extend([*nodes, last])
    constants = {"s_shape": np.array([64, 64, 33, 33]), "s_nothing": np.array(0, np.float32)}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound versions 1 and 2, and hostile ones by what they do."""
    folder = tmp_path_factory.mktemp("bundles")
    for version in ("1", "2", "loop", "outside", "slow"):
        write_tiny_bundle(folder / "tiny" / version, version=version)
    changes = {"loop": endless_loop, "outside": external_data, "slow": slow_for_ever}
    for version, change in changes.items():
        place = folder / "tiny" / version
        spoil(place, change(onnx.load_from_string((place / "model.onnx").read_bytes())))
    return folder


@pytest.fixture(scope="module")
def box(bundles: Path) -> Iterator[Serving]:
    first = bundles / "tiny" / "1"
    with serving(first, threads=1, bundles_dir=bundles, candidate_timeout_s=TRIAL_S) as service:
        yield service


def asked(box: Serving, method: str, query: str = "", version: str | None = None) -> dict[str, Any]:
    """The answer of /v1/bundles/candidate."""
    connection = http.client.HTTPConnection("127.0.0.1", box.port, timeout=PATIENCE_S)
    body = None if version is None else json.dumps({"name": "tiny", "version": version})
    connection.request(method, f"/v1/bundles/candidate{query}", body, {"Content-Type": "application/json"})
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def tried(box: Serving, version: str) -> dict[str, Any]:
    """What becomes of a candidate."""
    asked(box, "PUT", version=version)
    found = asked(box, "GET", "?wait_s=120")
    assert found["state"] != "loading"
    return found


def children(box: Serving) -> list[int]:
    """The processes that the service has started."""
    tasks = Path(f"/proc/{box.process.pid}/task").iterdir()
    return [int(each) for task in tasks for each in (task / "children").read_text().split()]


def trial_of(box: Serving) -> int:
    """The process of the trial, once it runs."""
    until = time.monotonic() + PATIENCE_S
    while not (found := children(box)):
        assert time.monotonic() < until, "no trial has begun"
        time.sleep(0.05)
    return found[0]


def still_served(box: Serving, image: bytes) -> None:
    status, body, _ = inspected(box.port, image)
    assert (status, json.loads(body)["verdict"]) == (200, "pass")


@pytest.mark.parametrize(
    ("version", "says"), [("loop", "control flow"), ("outside", "weights outside of the file")]
)
def test_hostile_graphs_are_no_candidates(box: Serving, clean: bytes, version: str, says: str) -> None:
    beside = ROOT / "slope.bin"  # where ONNX Runtime would look: the service's working directory
    beside.write_bytes(np.array(0, np.float32).tobytes())
    try:
        found = tried(box, version)
    finally:
        beside.unlink()
    assert (found["state"], found["problem"]["code"]) == ("failed", "bundle_invalid")
    assert says in found["problem"]["detail"]
    still_served(box, clean)


@pytest.mark.slow
def test_a_graph_that_takes_too_long_is_ended_and_its_place_is_free(box: Serving, clean: bytes) -> None:
    asked(box, "PUT", version="slow")
    trial_of(box)
    still_served(box, clean)
    found = asked(box, "GET", "?wait_s=120")
    assert (found["state"], found["problem"]["code"]) == ("failed", "self_test_failed")
    assert f"within {TRIAL_S} s; its trial was ended" in found["problem"]["detail"]
    assert children(box) == []
    assert tried(box, "2")["state"] == "ready"
    still_served(box, clean)


def test_a_candidate_that_is_deleted_or_replaced_ends_at_once(box: Serving) -> None:
    for replace in (False, True):
        asked(box, "PUT", version="slow")
        process = trial_of(box)
        if replace:
            assert tried(box, "2")["state"] == "ready"
        else:
            asked(box, "DELETE")
            until = time.monotonic() + TRIAL_S / 2
            while Path(f"/proc/{process}").exists():
                assert time.monotonic() < until
                time.sleep(0.05)
        assert process not in children(box)


def test_a_trial_that_crashes_is_told_and_harms_nobody(box: Serving, clean: bytes) -> None:
    asked(box, "PUT", version="slow")
    os.kill(trial_of(box), signal.SIGKILL)
    found = asked(box, "GET", "?wait_s=120")
    assert (found["state"], found["problem"]["code"]) == ("failed", "self_test_failed")
    assert "ended by SIGKILL: it crashed, or there was not enough memory" in found["problem"]["detail"]
    still_served(box, clean)
    assert tried(box, "2")["state"] == "ready"


def test_a_trial_ends_with_its_service(bundles: Path) -> None:
    with serving(bundles / "tiny" / "1", threads=1, bundles_dir=bundles) as service:
        asked(service, "PUT", version="slow")
        process = trial_of(service)
        time.sleep(5)  # until it has read its orders
        service.process.kill()
        service.process.wait()
        until = time.monotonic() + PATIENCE_S
        while _runs(process):
            assert time.monotonic() < until
            time.sleep(0.05)


def _runs(process: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_a_bundle_cannot_pass_by_its_own_tolerances(box: Serving, bundles: Path) -> None:
    place = Path(shutil.copytree(bundles / "tiny" / "2", bundles / "tiny" / "loose"))
    manifest = json.loads((place / "bundle.json").read_text()) | {"version": "loose"}
    for changed, code, says in (
        ({"golden_tolerance": {"min_mask_iou": 0.0}}, "bundle_invalid", "greater than or equal to 0.9"),
        ({"golden": manifest["golden"][1:]}, "self_test_failed", "no golden sample has the verdict fail"),
        ({"golden": manifest["golden"][:1]}, "self_test_failed", "no golden sample has the verdict pass"),
    ):
        (place / "bundle.json").write_text(json.dumps(manifest | changed))
        found = tried(box, "loose")
        assert (found["state"], found["problem"]["code"]) == ("failed", code)
        assert says in found["problem"]["detail"]

"""Real ONNX Runtime: graphs are checked, devices never swapped, answers independent of the batch."""

import gc
import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from app.inspection.bundle.bundle import Bundle
from app.inspection.errors import BundleInvalid, DeviceUnavailable, InferenceFailed
from app.inspection.inference.session import OnnxSession
from tests.tiny_bundle import sha256, tiny_graph, write_tiny_bundle

HAS_CUDA = "CUDAExecutionProvider" in ort.get_available_providers()


def bundle_with_graph(directory: Path, graph: bytes, **changes: Any) -> Bundle:
    """A tiny bundle whose graph is another one, published as if it were right."""
    write_tiny_bundle(directory)
    (directory / "model.onnx").write_bytes(graph)
    manifest = json.loads((directory / "bundle.json").read_text())
    manifest["artifacts"][0]["sha256"] = sha256(directory / "model.onnx")
    (directory / "bundle.json").write_text(json.dumps(manifest | changes))
    return Bundle.load(directory)


def test_cpu_is_the_active_provider(bundle_dir: Path) -> None:
    session = OnnxSession(Bundle.load(bundle_dir), device="cpu", threads=1)
    assert session.execution_provider == "CPUExecutionProvider"
    assert session.artifact.name == "fp32"


@pytest.mark.skipif(HAS_CUDA, reason="this machine may have CUDA")
def test_cuda_without_cuda_is_refused_with_the_reason(bundle_dir: Path) -> None:
    with pytest.raises(DeviceUnavailable, match="CUDAExecutionProvider is not in this build"):
        OnnxSession(Bundle.load(bundle_dir), device="cuda")


def test_bundle_without_an_artifact_for_the_device_is_refused(tmp_path: Path) -> None:
    manifest = json.loads((write_tiny_bundle(tmp_path) / "bundle.json").read_text())
    manifest["artifacts"][0]["providers"] = ["CUDAExecutionProvider"]
    (tmp_path / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(DeviceUnavailable, match="no artifact for CPUExecutionProvider"):
        OnnxSession(Bundle.load(tmp_path), device="cpu")


def test_answers_do_not_depend_on_the_batch(bundle_dir: Path) -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (7, 64, 64, 1), dtype=np.uint8)
    bundle = Bundle.load(bundle_dir)
    masks, heads, _ = OnnxSession(bundle, "cpu", 2).run(tiles)
    assert masks.shape == (7, 2, 64, 64)
    assert masks.dtype == np.uint8
    assert heads.shape == (7,)
    assert heads.dtype == np.float32
    session = OnnxSession(bundle, "cpu", 1)
    for n in range(7):
        mask, head, _ = session.run(tiles[n : n + 1])
        np.testing.assert_array_equal(mask[0], masks[n])
        assert head[0] == heads[n]


@pytest.mark.parametrize(
    "graph",
    [tiny_graph(3, 64, 1), tiny_graph(2, 32, 1), tiny_graph(2, 64, 3), b"no graph", b""],
    ids=["classes", "tile", "colour", "text", "empty"],
)
def test_graph_that_breaks_the_contract_is_refused(tmp_path: Path, graph: bytes) -> None:
    with pytest.raises(BundleInvalid):
        OnnxSession(bundle_with_graph(tmp_path, graph), device="cpu")


def test_graph_with_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(tiny_graph(2, 64, 1))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    with pytest.raises(BundleInvalid, match="dynamic batch"):
        OnnxSession(bundle_with_graph(tmp_path, model.SerializeToString()), device="cpu")


def test_a_session_let_go_is_freed_at_once(bundle_dir: Path) -> None:
    """Not only when the interpreter looks for cycles: it holds the model's memory, perhaps a GPU's."""
    session = OnnxSession(Bundle.load(bundle_dir), "cpu", 2)
    session.run(np.zeros((1, 64, 64, 1), dtype=np.uint8))
    reference = weakref.ref(session)
    gc.disable()
    try:
        del session
        assert reference() is None
    finally:
        gc.enable()


def test_failing_run_is_named(bundle_dir: Path) -> None:
    session = OnnxSession(Bundle.load(bundle_dir), device="cpu")
    with pytest.raises(InferenceFailed, match="CPUExecutionProvider failed"):
        session.run(np.zeros((1, 32, 32, 1), dtype=np.uint8))


def test_a_run_without_enough_memory_is_no_failure_of_the_model(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(tiny_graph(2, 64, 1))
    node, graph = onnx.helper.make_node, model.graph
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([1 << 11] * 4), "many"))
    graph.node[-1].input[0] = "zero_head"
    for each in (
        node("Shape", [graph.input[0].name], ["shape"]),
        node("Mul", ["shape", "many"], ["huge"]),
        node("ConstantOfShape", ["huge"], ["zeros"]),
        node("ReduceMax", ["zeros"], ["nothing"], keepdims=0),
        node("Add", ["highest", "nothing"], ["zero_head"]),
    ):
        graph.node.insert(len(graph.node) - 1, each)
    session = OnnxSession(bundle_with_graph(tmp_path, model.SerializeToString()), device="cpu")
    with pytest.raises(MemoryError, match="not enough memory"):
        session.run(np.zeros((1, 64, 64, 1), dtype=np.uint8))


def test_probability_that_is_no_number_is_refused(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(tiny_graph(2, 64, 1))
    nan = onnx.numpy_helper.from_array(np.array(np.nan, dtype=np.float32), "nan")
    model.graph.initializer.append(nan)
    model.graph.node[-1].input[0] = "nan_head"
    model.graph.node.insert(
        len(model.graph.node) - 1, onnx.helper.make_node("Mul", ["highest", "nan"], ["nan_head"])
    )
    session = OnnxSession(bundle_with_graph(tmp_path, model.SerializeToString()), device="cpu")
    with pytest.raises(InferenceFailed, match="not between 0 and 1"):
        session.run(np.zeros((1, 64, 64, 1), dtype=np.uint8))


def test_answer_that_is_not_one_for_each_tile_is_refused(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(tiny_graph(2, 64, 1))
    model.graph.node[-1].output[0] = "each"
    for name, value in {"one": 1, "many": 99, "first": 0}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([value], np.int64), name))
    drop = onnx.helper.make_node("Slice", ["each", "one", "many", "first"], ["image_probability"])
    model.graph.node.append(drop)  # the first tile is left without an answer
    session = OnnxSession(bundle_with_graph(tmp_path, model.SerializeToString()), device="cpu")
    with pytest.raises(InferenceFailed, match="one answer for each tile"):
        session.run(np.zeros((3, 64, 64, 1), dtype=np.uint8))


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_CUDA, reason="needs a CUDA device")
def test_cuda_is_really_active_and_agrees_with_the_cpu(bundle_dir: Path) -> None:
    bundle = Bundle.load(bundle_dir)
    cuda = OnnxSession(bundle, device="cuda")
    assert cuda.execution_provider == "CUDAExecutionProvider"
    tiles = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 1), dtype=np.uint8)
    (masks, heads, _), (cpu_masks, cpu_heads, _) = cuda.run(tiles), OnnxSession(bundle, "cpu").run(tiles)
    np.testing.assert_array_equal(masks, cpu_masks)
    np.testing.assert_allclose(heads, cpu_heads)

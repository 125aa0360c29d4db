"""The layout for integer kernels: other nodes, the same answers."""

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from training.bundle.artifacts.layout import for_integer_kernels

SIDES = (6, 9)


def _graph(factors: tuple[int, int], channels: int, group: int = 1) -> onnx.ModelProto:
    """An upsampling by these factors and a convolution of 4 channels to so many."""
    rng = np.random.default_rng(0)
    constants: dict[str, NDArray[Any]] = {
        "factors": np.array([1, 1, *factors], np.float32),
        "weights": rng.normal(size=(channels, 4 // group, 3, 3)).astype(np.float32),
        "bias": rng.normal(size=channels).astype(np.float32),
    }
    nearest = {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    nodes = [
        helper.make_node("Resize", ["pixels", "", "factors"], ["large"], "resize", **nearest),
        helper.make_node("Conv", ["large", "weights", "bias"], ["found"], "conv", pads=[1] * 4, group=group),
    ]
    of = helper.make_tensor_value_info
    sides = [side * factor for side, factor in zip(SIDES, factors, strict=True)]
    graph = helper.make_graph(
        nodes,
        "upsampling",
        [of("pixels", TensorProto.FLOAT, ["batch", 4, *SIDES])],
        [of("found", TensorProto.FLOAT, ["batch", channels, *sides])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
        value_info=[of("large", TensorProto.FLOAT, ["batch", 4, *sides])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _answers(model: onnx.ModelProto) -> NDArray[np.float32]:
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(1).normal(size=(2, 4, *SIDES)).astype(np.float32)
    answers: NDArray[np.float32] = session.run(["found"], {"pixels": pixels})[0]
    return answers


@pytest.mark.parametrize("factors", [(2, 2), (4, 4), (1, 3)])
@pytest.mark.parametrize("channels", [1, 5, 16])
def test_answers_stay(factors: tuple[int, int], channels: int) -> None:
    model = _graph(factors, channels)
    before = _answers(model)
    for_integer_kernels(model)
    np.testing.assert_allclose(_answers(model), before, rtol=1e-5, atol=1e-5)


def test_an_upsampling_becomes_copies_and_few_channels_become_sixteen() -> None:
    model = _graph((2, 2), channels=5)
    for_integer_kernels(model)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds == ["Transpose", "Gather", "Gather", "Transpose", "Conv", "Slice"]
    weights = next(each for each in model.graph.initializer if each.name == model.graph.node[4].input[1])
    assert weights.dims[0] == 16


@pytest.mark.parametrize(("channels", "group"), [(16, 1), (8, 4)])
def test_enough_channels_and_groups_are_left_alone(channels: int, group: int) -> None:
    model = _graph((2, 2), channels, group)
    for_integer_kernels(model)
    assert [node.op_type for node in model.graph.node][4:] == ["Conv"]


def test_a_bias_that_two_convolutions_share_stays_what_it_is_for_the_other() -> None:
    model = _graph((2, 2), channels=4)
    again = helper.make_node("Conv", ["large", "weights", "bias"], ["again"], "again", pads=[1] * 4)
    both = helper.make_node("Add", ["first", "again"], ["found"], "both")
    model.graph.node[1].output[0] = "first"
    model.graph.node.extend([again, both])
    before = _answers(model)
    for_integer_kernels(model)
    np.testing.assert_allclose(_answers(model), before, rtol=1e-5, atol=1e-5)


def test_a_resizing_that_is_no_copying_is_refused() -> None:
    model = _graph((2, 2), channels=16)
    next(each for each in model.graph.node[0].attribute if each.name == "mode").s = b"linear"
    with pytest.raises(ValueError, match="resize resizes by"):
        for_integer_kernels(model)

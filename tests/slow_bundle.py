"""The tiny bundle with one more operator, a convolution that changes nothing and takes its time."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.tiny_bundle import sha256, write_tiny_bundle

TILE = 64
KERNEL = 33  # px


def write_slow_bundle(directory: Path, work: int = 64) -> Path:
    """Write the tiny bundle; a tile costs some `work / 4` million floating-point operations more."""
    write_tiny_bundle(directory)
    path, manifest = directory / "model.onnx", directory / "bundle.json"
    before, model = sha256(path), onnx.load(path)
    constants: dict[str, NDArray[Any]] = {
        "slow_shape": np.array([work, TILE, KERNEL, 1], np.int64),
        "slow_nothing": np.array(0, np.float32),
    }
    weight = helper.make_tensor("value", TensorProto.FLOAT, [1], [1e-6])
    nodes = [
        helper.make_node("ConstantOfShape", ["slow_shape"], ["slow_kernel"], value=weight),
        helper.make_node("Conv", ["float", "slow_kernel"], ["slow"], pads=[KERNEL // 2, 0, KERNEL // 2, 0]),
        helper.make_node("ReduceMax", ["slow"], ["slow_highest"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["slow_highest", "slow_nothing"], ["slow_zero"]),
        helper.make_node("Add", ["slow_zero", "highest"], ["highest_slowly"]),
    ]
    graph = model.graph
    (last,) = [node for node in graph.node if list(node.output) == ["image_probability"]]
    last.input[0] = "highest_slowly"
    graph.node.remove(last)
    graph.node.extend([*nodes, last])
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    onnx.checker.check_model(model)
    onnx.save(model, path)
    manifest.write_text(manifest.read_text().replace(before, sha256(path)))
    return directory

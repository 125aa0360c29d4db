"""A real bundle with convolutions, so that single weights and what is quantised can be seen."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.tiny_bundle import sha256, write_tiny_bundle

TILE = 32
ENCODER, DECODER, HEAD = "unet.encoder.blocks.0", "unet.decoder.blocks.0", "unet.segmentation_head.0"


def write_convolving_bundle(directory: Path) -> Path:
    """Write a tiny bundle of the class `dark` whose graph has three convolutions.

    A pixel is the more a defect the darker it is: logit 3 - 12 * brightness, roughly.
    """
    write_tiny_bundle(directory, classes=("dark",), tile=TILE, overlap=8)
    rng = np.random.default_rng(3)
    kernels = {
        f"segmenter.{ENCODER}.weight": rng.uniform(0.5, 1.5, (4, 1, 1, 1)),
        f"segmenter.{DECODER}.conv1.0.weight": rng.uniform(0.5, 1.5, (4, 4, 1, 1)),
        f"segmenter.{HEAD}.weight": np.full((1, 4, 1, 1), -0.75),
    }
    first, second, last = kernels
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], "transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Div", ["planes", "full"], ["scaled"], "div"),
        helper.make_node("Conv", ["scaled", first], ["a"], "conv-1"),
        helper.make_node("Relu", ["a"], ["b"], "relu-1"),
        helper.make_node("Conv", ["b", second], ["c"], "conv-2"),
        helper.make_node("Relu", ["c"], ["d"], "relu-2"),
        helper.make_node("Conv", ["d", last, "bias"], ["logits"], "conv-3"),
        helper.make_node("Sigmoid", ["logits"], ["probability"], "sigmoid"),
        helper.make_node("Mul", ["probability", "full"], ["level"], "mul"),
        helper.make_node("Round", ["level"], ["rounded"], "round"),
        helper.make_node("Cast", ["rounded"], ["mask_probability"], "to-uint8", to=TensorProto.UINT8),
        helper.make_node("ReduceMax", ["probability", "axes"], ["image_probability"], "head", keepdims=0),
    ]
    of = helper.make_tensor_value_info
    constants = {name: kernel.astype(np.float32) for name, kernel in kernels.items()}
    constants |= {"bias": np.array([3.0], np.float32), "full": np.array(255.0, np.float32)}
    graph = helper.make_graph(
        nodes,
        "convolving",
        [of("pixels", TensorProto.UINT8, ["batch", TILE, TILE, 1])],
        [
            of("mask_probability", TensorProto.UINT8, ["batch", 1, TILE, TILE]),
            of("image_probability", TensorProto.FLOAT, ["batch"]),
        ],
        [
            *(numpy_helper.from_array(value, name) for name, value in constants.items()),
            numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model)
    before = sha256(directory / "model.onnx")
    onnx.save(model, directory / "model.onnx")
    manifest = directory / "bundle.json"
    manifest.write_text(manifest.read_text().replace(before, sha256(directory / "model.onnx")))
    return directory

"""Graphs that must not be run: each made from a sound one, and most of them valid ONNX."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.tiny_bundle import sha256

Change = Callable[[onnx.ModelProto], bytes]


def spoil(directory: Path, graph: bytes) -> Path:
    """Put a graph into a bundle, its hash stated rightly."""
    path, manifest = directory / "model.onnx", directory / "bundle.json"
    before = sha256(path)
    path.write_bytes(graph)
    manifest.write_text(manifest.read_text().replace(before, sha256(path)))
    return directory


def _bytes(model: onnx.ModelProto) -> bytes:
    return bytes(model.SerializeToString())


def _with_node(model: onnx.ModelProto, node: onnx.NodeProto) -> bytes:
    """The model with a node whose output nobody uses."""
    model.graph.node.append(node)
    return _bytes(model)


def _body(name: str = "body") -> onnx.GraphProto:
    """What a loop does: nothing, and go on."""
    of = helper.make_tensor_value_info
    return helper.make_graph(
        [helper.make_node("Identity", ["going"], ["go_on"])],
        name,
        [of("number", TensorProto.INT64, []), of("going", TensorProto.BOOL, [])],
        [of("go_on", TensorProto.BOOL, [])],
    )


def endless_loop(model: onnx.ModelProto) -> bytes:
    """A loop that runs 2**63 - 1 times before the answers."""
    most = numpy_helper.from_array(np.array(2**63 - 1), "most")
    model.graph.initializer.extend([most, numpy_helper.from_array(np.array(True), "on")])
    model.graph.node.insert(0, helper.make_node("Loop", ["most", "on"], [], body=_body()))
    return _bytes(model)


def _branches(model: onnx.ModelProto) -> bytes:
    node = helper.make_node("If", ["on"], ["x"], then_branch=_body("a"), else_branch=_body("b"))
    return _with_node(model, node)


def _scan(model: onnx.ModelProto) -> bytes:
    return _with_node(model, helper.make_node("Scan", ["grey"], ["x"], body=_body(), num_scan_inputs=1))


def _hidden_graph(model: onnx.ModelProto) -> bytes:
    """A graph as an attribute of an operator that has none."""
    return _with_node(model, helper.make_node("Relu", ["grey"], ["x"], body=_body()))


def _graph_list(model: onnx.ModelProto) -> bytes:
    node = helper.make_node("Relu", ["grey"], ["x"])
    node.attribute.append(helper.make_attribute("bodies", [_body()]))
    return _with_node(model, node)


def external_data(model: onnx.ModelProto) -> bytes:
    """A constant read from a file that no hash covers."""
    tensor = next(each for each in model.graph.initializer if each.name == "slope")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "slope.bin"), ("offset", "0"), ("length", "4")):
        tensor.external_data.add(key=key, value=value)
    return _bytes(model)


def _location_alone(model: onnx.ModelProto) -> bytes:
    """The place of a file without the flag, in a constant node."""
    value = numpy_helper.from_array(np.zeros(1, np.float32), "v")
    value.external_data.add(key="location", value="slope.bin")
    return _with_node(model, helper.make_node("Constant", [], ["x"], value=value))


def _long_flag(model: onnx.ModelProto) -> bytes:
    """The flag of external data as a number that is 1 in its lower 32 bits only."""
    tensor = numpy_helper.from_array(np.zeros(1, np.float32), "v")
    flag = b"\x70" + bytes([0x81, 0x80, 0x80, 0x80, 0x10])
    field = _field(5, bytes(tensor.SerializeToString()) + flag)
    return _bytes(model) + _field(7, field)


def _custom(model: onnx.ModelProto) -> bytes:
    model.opset_import.append(helper.make_opsetid("my.ops", 1))
    return _with_node(model, helper.make_node("Relu", ["grey"], ["x"], domain="my.ops"))


def _contributed(model: onnx.ModelProto) -> bytes:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return _with_node(model, helper.make_node("Gelu", ["grey"], ["x"], domain="com.microsoft"))


def _function(model: onnx.ModelProto) -> bytes:
    opsets = [helper.make_opsetid("", 17)]
    body = [helper.make_node("Relu", ["a"], ["b"])]
    model.functions.append(helper.make_function("", "Abs", ["a"], ["b"], body, opsets))
    return _bytes(model)


def _sparse(model: onnx.ModelProto) -> bytes:
    values = numpy_helper.from_array(np.ones(1, np.float32), "huge")
    places = numpy_helper.from_array(np.zeros(1, np.int64), "places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [2**40]))
    return _bytes(model)


def _random(model: onnx.ModelProto) -> bytes:
    return _with_node(model, helper.make_node("RandomNormalLike", ["grey"], ["x"]))


def _dropout(model: onnx.ModelProto) -> bytes:
    training = onnx.TensorProto(name="training", data_type=onnx.TensorProto.BOOL, int32_data=[1])
    model.graph.initializer.append(training)
    return _with_node(model, helper.make_node("Dropout", ["grey", "", "training"], ["x"]))


def _second_graph(model: onnx.ModelProto) -> bytes:
    """A second field `graph`: readers of protobuf merge the two."""
    more = onnx.GraphProto()
    more.node.append(helper.make_node("Loop", ["", ""], [], body=_body()))
    return _bytes(model) + _field(7, bytes(more.SerializeToString()))


def _two_operators(model: onnx.ModelProto) -> bytes:
    """A node with two operators, of which readers take the last."""
    node = bytes(helper.make_node("Relu", ["grey"], ["x"]).SerializeToString())
    return _bytes(model) + _field(7, _field(1, _field(4, b"Loop") + node))


def _no_operator(model: onnx.ModelProto) -> bytes:
    return _bytes(model) + _field(7, _field(1, b""))


def _many_nodes(model: onnx.ModelProto) -> bytes:
    node = _field(1, bytes(helper.make_node("Relu", ["grey"], ["x"]).SerializeToString()))
    return _bytes(model) + _field(7, node * 20_000)


def _many_fields(model: onnx.ModelProto) -> bytes:
    return _bytes(model) + _field(2, b"") * 500_000


def _training(model: onnx.ModelProto) -> bytes:
    model.training_info.add().algorithm.CopyFrom(_body())
    return _bytes(model)


def _unknown_field(model: onnx.ModelProto) -> bytes:
    return _bytes(model) + _field(99, b"something newer")


def _group(model: onnx.ModelProto) -> bytes:
    return _bytes(model) + b"\x0b\x0c"


def _own_format(_: onnx.ModelProto) -> bytes:
    """What ONNX Runtime takes for its own format, and others for ONNX."""
    return _field(2, b"xxORTM" + bytes(60))


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes, in protobuf's encoding."""
    return _number(number << 3 | 2) + _number(len(content)) + content


def _number(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


HOSTILE: dict[str, tuple[Change, str]] = {
    "endless loop": (endless_loop, "control flow"),
    "branches": (_branches, "control flow"),
    "scan": (_scan, "control flow"),
    "hidden graph": (_hidden_graph, "a graph as an attribute: control flow"),
    "list of graphs": (_graph_list, "graphs as an attribute: control flow"),
    "second graph": (_second_graph, "control flow"),
    "two operators": (_two_operators, "a node without one operator"),
    "no operator": (_no_operator, "a node without one operator"),
    "external data": (external_data, "weights outside of the file"),
    "place of a file": (_location_alone, "weights outside of the file"),
    "long flag": (_long_flag, "weights outside of the file"),
    "custom operator": (_custom, r"the custom operator my\.ops\.Relu"),
    "contributed operator": (_contributed, r"the custom operator com\.microsoft\.Gelu"),
    "function": (_function, "has functions"),
    "sparse weights": (_sparse, "sparse weights"),
    "random": (_random, "RandomNormalLike, whose answers are random"),
    "dropout": (_dropout, "Dropout in training mode"),
    "nodes": (_many_nodes, "more than 20000 nodes"),
    "fields": (_many_fields, "too many fields"),
    "training": (_training, "training information"),
    "unknown field": (_unknown_field, "unknown field 99 in the model"),
    "group": (_group, "wire type 3"),
    "own format": (_own_format, "ONNX Runtime's own format"),
    "text": (lambda _: b"another graph", "unknown field 12"),
    "nothing": (lambda _: b"", "there is no graph in it"),
    "cut off": (lambda model: _bytes(model)[:-3], "cut off"),
    "long length": (lambda model: _bytes(model) + b"\x3a" + b"\xff" * 9 + b"\x01", "cut off"),
    "long number": (lambda model: _bytes(model) + b"\x08" + b"\xff" * 11, "too long"),
}

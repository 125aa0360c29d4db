"""What an ONNX graph may contain, checked in its file before ONNX Runtime reads it.

Allowed are the operators of ONNX itself, with weights in the file. Refused are external data, which no hash
covers; custom operators and functions; control flow, whose time has no bound; and random operators, whose
answers differ from run to run.

Field numbers are those of onnx.proto in ONNX 1.23. A field that is not listed is refused, because it could
hold another graph.
"""

from collections.abc import Callable, Mapping
from typing import Literal

from app.inspection.bundle.wire import BYTES, VARINT, Field, Reader, WireError
from app.inspection.errors import BundleInvalid

MAX_NODES = 20_000
MAX_FIELDS = 500_000  # of all messages read; the shipped int8 graph has some 8,000
ORT_FORMAT = b"ORTM"  # ONNX Runtime's own format, at byte 4; it is not checked here
DOMAINS = (b"", b"ai.onnx")
CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
INSTEAD = "export it with plain ONNX operators and its weights inside"

Kind = Literal["graph", "nodes", "tensor", "attributes", "text", "number", "unread"]
Fields = Mapping[int, Kind | str]
# What each field is: read further, of no influence on what is run ("unread"), or else why it is refused.
MODEL: Fields = {
    **dict.fromkeys((1, 5), "number"),
    **dict.fromkeys((2, 3, 4, 6, 8, 14), "unread"),
    7: "graph",
    20: "has training information",
    25: "has functions",
    26: "has a configuration of devices",
}
GRAPH: Fields = {
    1: "nodes",
    5: "tensor",
    15: "has sparse weights",
    **dict.fromkeys((2, 10, 11, 12, 13, 14, 16), "unread"),
}
NODE: Fields = {
    1: "text",
    4: "text",
    5: "attributes",
    7: "text",
    8: "calls an overloaded function",
    10: "has a configuration of devices",
    **dict.fromkeys((2, 3, 6, 9), "unread"),
}
ATTRIBUTE: Fields = {
    5: "tensor",
    10: "tensor",
    6: "has a graph as an attribute: control flow",
    11: "has graphs as an attribute: control flow",
    **dict.fromkeys((22, 23), "has sparse tensors"),
    21: "refers to an attribute of a function",
    **dict.fromkeys((3, 20), "number"),
    **dict.fromkeys((1, 2, 4, 7, 8, 9, 13, 14, 15), "unread"),
}
TENSOR: Fields = {
    13: "has weights outside of the file",
    14: "number",
    **dict.fromkeys((1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16), "unread"),
}
INPUT, OP_TYPE, DOMAIN, DATA_LOCATION = 1, 4, 7, 14
DROPOUT_INPUTS = 2  # a third one can turn on its random mode of training


def check_graph(data: bytes, file: str) -> None:
    """Raise BundleInvalid unless an ONNX file has only what is allowed; `file` is its name in messages."""
    if data[4:8] == ORT_FORMAT:
        raise BundleInvalid(f"{file} is in ONNX Runtime's own format; publish it as ONNX")
    try:
        _Check(file).model(memoryview(data))
    except WireError as error:
        raise BundleInvalid(f"{file} cannot be loaded: it is no ONNX graph: {error}") from error


class _Check:
    """Walks one file; each method reads one kind of message and raises WireError or BundleInvalid."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._reader = Reader(MAX_FIELDS)
        self._nodes = 0
        self._below: Mapping[str, Callable[[memoryview], None]] = {
            "graph": self._graph,
            "nodes": self._node,
            "tensor": self._tensor,
            "attributes": self._attribute,
        }

    def model(self, message: memoryview) -> None:
        graphs = sum(each.number == 7 for each in self._walk(message, MODEL, "the model"))
        if not graphs:
            raise WireError("there is no graph in it")

    def _graph(self, message: memoryview) -> None:
        self._walk(message, GRAPH, "the graph")

    def _node(self, message: memoryview) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._refused(f"has more than {MAX_NODES} nodes")
        found = self._walk(message, NODE, "a node")
        names = [bytes(each.data) for each in found if each.number == OP_TYPE]
        domains = [bytes(each.data) for each in found if each.number == DOMAIN]
        name = b" ".join(names).decode("utf-8", "replace")
        if len(names) != 1:
            raise self._refused("has a node without one operator")
        for domain in domains:
            if domain not in DOMAINS:
                raise self._refused(f"has the custom operator {domain.decode('utf-8', 'replace')}.{name}")
        if name in CONTROL_FLOW:
            raise self._refused(f"has the operator {name}: control flow")
        if name in RANDOM:
            raise self._refused(f"has the operator {name}, whose answers are random")
        if name == "Dropout" and sum(each.number == INPUT for each in found) > DROPOUT_INPUTS:
            raise self._refused("has the operator Dropout in training mode, whose answers are random")

    def _attribute(self, message: memoryview) -> None:
        self._walk(message, ATTRIBUTE, "an attribute")

    def _tensor(self, message: memoryview) -> None:
        for each in self._walk(message, TENSOR, "a tensor"):
            if each.number == DATA_LOCATION and each.value:
                raise self._refused("has weights outside of the file")

    def _walk(self, message: memoryview, known: Fields, what: str) -> list[Field]:
        """The texts and numbers of a message, all messages in it read; raises WireError or BundleInvalid."""
        found = []
        for field in self._reader.fields(message):
            kind = known.get(field.number)
            if kind is None:
                raise self._refused(f"has an unknown field {field.number} in {what}")
            if kind == "unread":
                continue
            if kind == "number":
                expected = VARINT
            elif kind in ("text", *self._below):
                expected = BYTES
            else:
                raise self._refused(kind)
            if field.kind != expected:  # ONNX Runtime would skip it
                raise WireError(f"field {field.number} of {what} has the wire type {field.kind}")
            if kind in self._below:
                self._below[kind](field.data)
            found.append(field)
        return found

    def _refused(self, why: str) -> BundleInvalid:
        return BundleInvalid(f"{self._file} {why:.200}; {INSTEAD}")

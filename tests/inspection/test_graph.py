"""Graphs are checked in their files: what a bundle may not contain is refused before it is run."""

import contextlib
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.inspection.bundle import graph
from app.inspection.bundle.bundle import Bundle
from app.inspection.bundle.graph import check_graph
from app.inspection.errors import BundleInvalid
from app.inspection.inference.session import OnnxSession
from tests.hostile_graphs import HOSTILE, spoil
from tests.markdown import ROOT
from tests.tiny_bundle import tiny_graph, write_tiny_bundle

TINY = tiny_graph(2, 64, 1, gate=True)


@pytest.mark.parametrize("path", sorted((ROOT / "models").glob("*/*/*.onnx")), ids=str)
def test_shipped_graphs_are_allowed(path: Path) -> None:
    check_graph(path.read_bytes(), path.name)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_graphs_are_refused_at_load(tmp_path: Path, name: str) -> None:
    change, says = HOSTILE[name]
    directory = write_tiny_bundle(tmp_path)
    spoil(directory, change(onnx.load_from_string((directory / "model.onnx").read_bytes())))
    with pytest.raises(BundleInvalid, match=rf"model\.onnx .*{says}"):
        Bundle.load(directory)


def test_operators_of_onnx_by_its_full_name_are_allowed(tmp_path: Path) -> None:
    model = onnx.load_from_string(TINY)
    for node in model.graph.node:
        node.domain = "ai.onnx"
        node.doc_string = "a comment"
    model.metadata_props.add(key="made", value="by a tool")
    check_graph(model.SerializeToString(), "model.onnx")
    directory = spoil(write_tiny_bundle(tmp_path, gate=True), bytes(model.SerializeToString()))
    assert OnnxSession(Bundle.load(directory), "cpu", 1).artifact.name == "fp32"


@pytest.mark.parametrize(
    ("known", "kind"),
    [
        (graph.MODEL, onnx.ModelProto),
        (graph.GRAPH, onnx.GraphProto),
        (graph.NODE, onnx.NodeProto),
        (graph.ATTRIBUTE, onnx.AttributeProto),
        (graph.TENSOR, onnx.TensorProto),
    ],
)
def test_every_field_of_onnx_is_read_unread_or_refused(known: graph.Fields, kind: Any) -> None:
    """And no message is taken for something that cannot hold operators or weights."""
    assert known.keys() == {each.number for each in kind.DESCRIPTOR.fields}
    harmless = {"StringStringEntryProto", "OperatorSetIdProto", "ValueInfoProto", "TensorAnnotation"}
    harmless |= {"TypeProto", "Segment"}
    for each in kind.DESCRIPTOR.fields:
        if known[each.number] == "unread" and each.message_type is not None:
            assert each.message_type.name in harmless, each.name


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_bytes_are_a_graph_or_refused(data: st.DataObject) -> None:
    spoilt = bytearray(TINY)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(spoilt) - 1))
        spoilt[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with contextlib.suppress(BundleInvalid):
        check_graph(bytes(spoilt), "any.onnx")

"""A model that looks around: tiles give the same defects as the whole, up to what blending explains."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from app.inspection.inspector import Inspector
from app.inspection.results import Inspection
from tests.tiny_bundle import BACKGROUND, png, sha256, tiny_graph, tiny_picture, write_tiny_bundle

SIDE, TILE, OVERLAP = 256, 64, 20
REACH = 2  # of a 5 x 5 average


def averaging_graph(tile: int) -> bytes:
    """The tiny graph, which sees brightness averaged over 5 x 5 pixels; outside a tile lies background."""
    model = onnx.load_model_from_string(tiny_graph(2, tile, 1))
    window = np.full((1, 1, 5, 5), 1 / 25, dtype=np.float32)
    for name, value in {"window": window, "background": np.array(BACKGROUND, dtype=np.float32)}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    at = next(n for n, node in enumerate(model.graph.node) if node.output[0] == "difference")
    model.graph.node[at].input[0] = "average"
    node = onnx.helper.make_node
    for each in (
        node("Add", ["seen", "background"], ["average"]),
        node("Conv", ["centred", "window"], ["seen"], pads=[REACH] * 4),
        node("Sub", ["brightness", "background"], ["centred"]),
    ):
        model.graph.node.insert(at, each)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def inspector(directory: Path, tile: int) -> Inspector:
    """An inspector on a tiny bundle with the averaging graph; its golden samples are not for that one."""
    write_tiny_bundle(directory, tile=tile, overlap=OVERLAP)
    (directory / "model.onnx").write_bytes(averaging_graph(tile))
    manifest = json.loads((directory / "bundle.json").read_text())
    manifest["artifacts"][0]["sha256"] = sha256(directory / "model.onnx")
    (directory / "bundle.json").write_text(json.dumps(manifest))
    return Inspector.load(directory, device="cpu", threads=1)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Inspector, Inspector]:
    """One that cuts the image into 36 tiles, and one whose only tile is the image."""
    paths = [tmp_path_factory.mktemp(name) for name in ("tiles", "whole")]
    return inspector(paths[0], TILE), inspector(paths[1], SIDE)


def rectangles(seed: int) -> NDArray[np.uint8]:
    """Dark and bright rectangles on grey, one in each cell of 64 px and at any place there."""
    rng = np.random.default_rng(seed)
    picture = tiny_picture(SIDE, SIDE)
    for y in range(0, SIDE, 64):
        for x in range(0, SIDE, 64):
            height, width = rng.integers(7, 40, 2)
            top, left = y + rng.integers(2, 62 - height), x + rng.integers(2, 62 - width)
            picture[top : top + height, left : left + width] = rng.choice([10, 250])
    return picture


def by_place(inspection: Inspection) -> NDArray[np.float64]:
    """Class, box and area of every defect, sorted by place."""
    rows = [
        (inspection.classes.index(each.defect_class), *each.bbox, each.area_px) for each in inspection.defects
    ]
    return np.array(sorted(rows, key=lambda row: (row[2] // 64, row[1] // 64)), dtype=np.float64)


@pytest.mark.parametrize("seed", range(4))
def test_tiles_give_the_defects_of_the_whole(both: tuple[Inspector, Inspector], seed: int) -> None:
    """A tile's outer two pixels lack part of their surroundings, but count at most 2 / (overlap + 1).

    So a defect's edge may move by a pixel there. Everything else is the same: class, number, verdict.
    """
    picture = rectangles(seed)
    tiled, whole = (each.inspect(png(picture)) for each in both)
    assert len(whole.defects) == 16
    assert (tiled.verdict, len(tiled.defects)) == (whole.verdict, 16)
    found, expected = by_place(tiled), by_place(whole)
    np.testing.assert_array_equal(found[:, 0], expected[:, 0])
    np.testing.assert_allclose(found[:, 1:5], expected[:, 1:5], atol=2)
    np.testing.assert_allclose(found[:, 5], expected[:, 5], rtol=0.02)


def test_probabilities_differ_only_near_seams_and_by_their_weight(both: tuple[Inspector, Inspector]) -> None:
    picture = rectangles(9)
    tiled, whole = (each.predict(picture).probability.astype(int) for each in both)
    starts = (*range(0, SIDE - TILE, TILE - OVERLAP), SIDE - TILE)
    near = np.zeros(SIDE, dtype=bool)
    for start in starts[1:]:
        near[start : start + REACH] = True
    for start in starts[:-1]:
        near[start + TILE - REACH : start + TILE] = True
    difference = np.abs(tiled - whole)
    assert not difference[:, ~near[:, None] & ~near].any()
    assert 0 < difference.max() <= 255 * (1 - (1 - REACH / (OVERLAP + 1)) ** 2) + 1

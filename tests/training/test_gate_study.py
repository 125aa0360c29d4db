"""The study of the gate on generated tiles: false alarms by grouped folds, and manipulated images stopped."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tiny_bundle import write_tiny_bundle
from training.__main__ import main
from training.data.layouts.magnetic_tile import write_generated
from training.evaluation.changes import MANIPULATIONS
from training.studies.gate import GATES, table_text

CHANGES = {change.name: change for change in MANIPULATIONS}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("study")
    write_generated(place / "tiles", count=60, seed=5)
    write_tiny_bundle(place / "bundle", gate=True)
    return place


@pytest.fixture(scope="module")
def figures(place: Path) -> dict[str, Any]:
    options = ["--data", str(place / "tiles"), "--folds", "3", "--images", "12"]
    assert main(["study-gate", str(place / "bundle"), *options, "--out", str(place / "gate.json")]) == 0
    found: dict[str, Any] = json.loads((place / "gate.json").read_text())
    return found


def test_every_image_is_measured_once_by_each_gate(figures: dict[str, Any]) -> None:
    assert figures["command"].startswith("passline train study-gate")
    assert (figures["bundle"], figures["artifact"], figures["pictures"]) == ("tiny 1", "fp32", 60)
    assert list(figures["gates"]) == list(GATES)
    for found in figures["gates"].values():
        assert found["good"]["of"] + found["defective"]["of"] == 60
        assert sum(found["good_by_rule"].values()) >= found["good"]["count"]
        assert found["good"]["count"] <= 8  # some 30 images fit the limits; far from all are stopped
    assert len(figures["changes"]) == sum(len(change.strengths) for change in MANIPULATIONS)
    assert {row["pictures"] for row in figures["changes"]} == {12}


def test_a_check_left_out_stops_nothing(figures: dict[str, Any]) -> None:
    rows = {(row["change"], row["strength"]): row for row in figures["changes"]}
    noise = rows["noise", 20]
    assert noise["by_rule"]["grain"] == 12
    assert noise["stopped"]["all checks"] == 1.0
    inverted = rows["inverted", -1]
    assert inverted["by_rule"]["polarity"] > 0
    assert inverted["stopped"]["all checks"] >= inverted["stopped"]["without polarity"]


def test_tables(figures: dict[str, Any]) -> None:
    text = table_text(figures)
    assert "| all checks | " in text
    assert "| inverted: -1 (sign of the contrast), 12 images | " in text
    only_good = json.loads(json.dumps(figures))
    only_good["gates"]["all checks"]["defective"] = None
    assert table_text(only_good).splitlines()[2].endswith("| - |")


def test_too_many_folds_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--data", str(place / "tiles"), "--folds", "61", "--out", str(place / "none.json")]
    assert main(["study-gate", str(place / "bundle"), *options]) == 2
    assert "--folds 61: more than the set has groups" in capsys.readouterr().err


def test_a_graph_without_features_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_tiny_bundle(place / "bare")
    assert main(["study-gate", str(bundle), "--data", str(place / "tiles")]) == 2
    assert "features" in capsys.readouterr().err


@pytest.mark.parametrize("change", MANIPULATIONS, ids=lambda change: change.name)
def test_manipulations_keep_size_and_type(change: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60), np.uint8)
    before = pixels.copy()
    bits = (pixels > 200).astype(np.uint16)
    for strength in change.strengths:
        changed, moved = change.apply(pixels, bits, strength)
        assert (changed.shape, changed.dtype, moved.shape) == (pixels.shape, np.uint8, bits.shape)
        assert (changed != pixels).any()
    np.testing.assert_array_equal(pixels, before)


def test_manipulations_by_hand() -> None:
    pixels = np.array([[0, 100, 128, 255]], np.uint8)
    bits = np.array([[1, 0, 0, 0]], np.uint16)

    def changed(name: str, strength: float) -> list[int]:
        return list(CHANGES[name].apply(pixels, None, strength)[0][0])

    assert changed("inverted in part", 0.5) == [255, 155, 128, 255]
    assert changed("solarised", 128) == [0, 100, 127, 0]
    assert changed("gamma", 2.0) == [0, 39, 64, 255]
    assert changed("contrast stretched", 0.01)[0] == 0
    mirrored, moved = CHANGES["mirrored"].apply(pixels, bits, 1)
    assert (list(mirrored[0]), list(moved[0])) == ([255, 128, 100, 0], [0, 0, 0, 1])  # type: ignore[index]

"""The gate's limits: learnt at the stated rate, from groups held out; and the figures of a gate."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.inspection.bundle.artifact import Gate
from app.inspection.bundle.bundle import Bundle
from app.inspection.input_gate import InputGate
from app.inspection.inspector import Inspector
from tests.tiny_bundle import GRAIN, png, tiny_picture, write_tiny_bundle
from training.config import ConfigError, GateConfig
from training.data.pictures import LoadedPictures, Picture
from training.data.sample import Blob, Dataset, Pixels, Sample
from training.evaluation.gate import gate_figures
from training.evaluation.run import EvaluateOptions, evaluate_bundle
from training.files import write_manifest
from training.thresholds.input_gate import (
    FeatureGraph,
    Known,
    check_enough,
    distribution_of,
    evenly,
    tail_limit,
    training_images,
    with_gates,
)

from .labelled import labelled


def grained(seed: int, grain: int = GRAIN, size: tuple[int, int] = (96, 80)) -> Pixels:
    """A grained image of its own brightness."""
    rng = np.random.default_rng(seed)
    level = 128 + rng.integers(-12, 13)
    return (level + rng.integers(-grain, grain + 1, size)).astype(np.uint8)


@pytest.fixture(scope="module")
def learnt_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny bundle whose gate was learnt from 200 images of 100 parts."""
    directory = write_tiny_bundle(tmp_path_factory.mktemp("learnt"), gate=True)
    bundle = Bundle.load(directory)
    known = [Known(str(seed // 2), lambda seed=seed: grained(seed)) for seed in range(200)]  # type: ignore[misc]
    unseen = samples_of(tmp_path_factory.mktemp("unseen"), [grained(seed) for seed in range(3000, 3200)])
    artifacts = tuple(with_gates(bundle, known, unseen, GateConfig()))
    write_manifest(directory, bundle.model_copy(update={"artifacts": artifacts}))
    return directory


def gate_of(directory: Path) -> Gate:
    gate = Bundle.load(directory).artifacts[0].gate
    assert gate is not None
    return gate


def samples_of(directory: Path, pictures: list[Pixels]) -> list[Sample]:
    samples = []
    for number, pixels in enumerate(pictures):
        (directory / f"{number}.png").write_bytes(png(pixels))
        samples.append(
            Sample(str(number), str(number), "s", "good", False, Blob(directory / f"{number}.png"))
        )
    return samples


@pytest.mark.parametrize("rate", [0.002, 0.01, 0.05])
def test_limit_is_exceeded_by_the_share_asked_for(rate: float) -> None:
    rng = np.random.default_rng(0)
    shares = [
        np.mean(rng.exponential(size=20_000) > tail_limit(rng.exponential(size=600), rate)) for _ in range(40)
    ]
    assert np.mean(shares) == pytest.approx(rate, rel=0.35)


def test_limit_of_equal_values_has_room() -> None:
    assert tail_limit(np.full(50, 3.0), 0.01) == 3.0
    assert tail_limit(np.full(50, 3.0), 0.01, least=0.5) == 3.5


def test_gate_learns_what_its_pictures_are_like(learnt_dir: Path) -> None:
    gate = gate_of(learnt_dir)
    assert (gate.pictures, gate.groups, gate.false_alarm_rate) == (200, 100, 0.01)
    checks = {check.score: check for check in gate.checks}
    assert (checks["short_side_px"].low, checks["short_side_px"].high) == pytest.approx((72, 88))
    brightness = checks["brightness"]
    assert brightness.low is not None
    assert brightness.high is not None
    assert 90 < brightness.low < 116
    assert 140 < brightness.high < 190
    assert brightness.shares == pytest.approx([0.1] * 10, abs=0.07)
    assert checks["sharpness"].high is None
    assert checks["feature_distance"].low is None


def test_new_ordinary_pictures_are_rarely_stopped(learnt_dir: Path) -> None:
    bundle = Bundle.load(learnt_dir)
    gate, graph = (
        InputGate(bundle, gate_of(learnt_dir)),
        FeatureGraph(bundle.read("model.onnx"), bundle.input),
    )
    fresh = [grained(seed) for seed in range(1000, 1400)]
    stopped = sum(bool(gate.look(picture, graph.features(picture)).reasons) for picture in fresh)
    assert stopped <= 12  # 4 are expected; 12 or more would happen once in a thousand times


def test_features_are_those_that_the_service_sees(learnt_dir: Path) -> None:
    inspector = Inspector.load(learnt_dir, device="cpu")
    picture = grained(7, size=(150, 210))
    graph = FeatureGraph(inspector.bundle.read("model.onnx"), inspector.bundle.input)
    looked = inspector.predict(picture).looked
    assert looked == InputGate(inspector.bundle, gate_of(learnt_dir)).look(picture, graph.features(picture))


def test_a_feature_that_never_varied_does_not_outweigh_all_others() -> None:
    rng = np.random.default_rng(0)
    features = np.c_[rng.normal(size=(100, 2)), np.full(100, 5.0)].astype(np.float32)
    distribution = distribution_of(features)
    assert distribution.distance(np.array([0, 0, 5.01], np.float32)) < 1
    assert distribution.distance(np.array([0, 0, 9], np.float32)) > 10


def test_too_few_pictures_are_refused() -> None:
    few = [Known(str(number), lambda: grained(1)) for number in range(9)]
    with pytest.raises(ConfigError, match="2 groups, not 9 of 9"):
        check_enough(few)
    with pytest.raises(ConfigError, match="2 groups, not 30 of 1"):
        check_enough([Known("a", lambda: grained(1))] * 30)
    check_enough([*few, Known("a", lambda: grained(1))])


def test_pictures_are_taken_evenly_from_all_sources(tmp_path: Path) -> None:
    assert evenly(range(10), 4) == [0, 3, 6, 9]
    made = LoadedPictures([Picture(grained(seed), None, False) for seed in range(3)])
    known = training_images([labelled(tmp_path, "a"), labelled(tmp_path, "b")], [made], 10)
    assert [each.group for each in known] == ["a", "b", "made 0 0", "made 0 1", "made 0 2"]
    np.testing.assert_array_equal(known[3].pixels(), grained(1))
    np.testing.assert_array_equal(known[0].pixels(), tiny_picture(96, 80))


def test_figures_of_a_gate(learnt_dir: Path, tmp_path: Path) -> None:
    samples = samples_of(tmp_path, [grained(seed) for seed in range(2000, 2012)])
    others = {"coarse": [grained(seed, 3 * GRAIN) for seed in range(5)]}
    bundle = Bundle.load(learnt_dir)
    figures = gate_figures(bundle, bundle.artifacts[0], samples, others)
    assert figures["pictures"] == figures["false_alarm_rate"]["of"] == 12
    assert sum(figures["false_alarms_by_rule"].values()) >= figures["false_alarm_rate"]["count"]
    assert figures["other_products"] == [
        {"product": "coarse", "pictures": 5, "score": "feature_distance", "auroc": 1.0, "stopped": 1.0}
    ]
    rows = {(row["change"], row["strength"]): row for row in figures["changes"]}
    assert rows["under-exposure", 0.25]["auroc"] == rows["over-exposure", 2.5]["auroc"] == 1.0
    assert rows["gaussian blur", 2]["auroc"] == rows["gaussian blur", 2]["stopped"] == 1.0
    assert rows["under-exposure", 0.5]["score"] == "brightness"


def test_evaluation_tells_of_the_gate(learnt_dir: Path, tmp_path: Path) -> None:
    good = samples_of(tmp_path, [grained(seed) for seed in range(6)])
    spoilt = grained(9)
    cv2.rectangle(spoilt, (20, 30), (40, 40), 10, -1)
    (tmp_path / "dark.png").write_bytes(png(spoilt))
    defective = Sample("dark", "dark", "s", "dark", True, Blob(tmp_path / "dark.png"))
    dataset = Dataset(("dark", "bright"), [*good, defective])
    asked = EvaluateOptions("passline train evaluate", pictures=False)
    document = evaluate_bundle(learnt_dir, dataset, tmp_path / "out", asked)
    assert json.loads((tmp_path / "out/evaluation.json").read_text())["gate"] == document["gate"]
    assert [row["product"] for row in document["gate"]["other_products"]] == ["generated surfaces"]
    page = (tmp_path / "out/evaluation.html").read_text()
    assert "Input gate" in page
    assert "under-exposure" in page

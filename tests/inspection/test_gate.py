"""The input gate: what each score notices, what it does not mind, and that nothing outside ever passes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.inspection.bundle.bundle import Bundle
from app.inspection.errors import BundleCorrupt, BundleInvalid, InferenceFailed
from app.inspection.inference.session import OnnxSession
from app.inspection.input_gate import FeatureDistribution, InputGate, noise_level, picture_scores, sharpness
from app.inspection.inspector import Inspector
from tests.tiny_bundle import GRAIN, png, sha256, tiny_graph, tiny_picture, write_tiny_bundle

DARK = (20, 30, 12, 9)


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Inspector:
    return Inspector.load(write_tiny_bundle(tmp_path_factory.mktemp("gated"), gate=True), device="cpu")


def surface(seed: int = 0, height: int = 200, width: int = 260) -> NDArray[np.uint8]:
    """A sharp surface: soft clouds with fine grain."""
    rng = np.random.default_rng(seed)
    clouds = cv2.GaussianBlur(rng.normal(0, 200, (height, width)), (0, 0), 8)
    return np.clip(110 + clouds + rng.normal(0, 8, (height, width)), 0, 255).astype(np.uint8)


def rules(inspector: Inspector, picture: NDArray[np.uint8]) -> list[str]:
    """The rules of the reasons that an image's verdict has."""
    found = inspector.inspect(png(picture))
    assert (found.verdict == "review") == bool(found.reasons)
    return [reason.rule for reason in found.reasons]


def test_picture_inside_the_gate_is_judged_as_ever(gated: Inspector) -> None:
    gated.self_test()
    good = gated.inspect(png(tiny_picture(96, 80, grain=GRAIN)))
    bad = gated.inspect(png(tiny_picture(96, 80, DARK, GRAIN)))
    assert (good.verdict, good.reasons) == ("pass", ())
    assert (bad.verdict, [each.rule for each in bad.reasons]) == ("fail", ["max_count"])
    assert "gate" in good.timings_ms
    assert good.gate_scores is not None
    assert good.gate_scores["brightness"] == pytest.approx(128, abs=1)
    assert good.gate_scores["feature_distance"] < 0.5


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda picture: cv2.GaussianBlur(picture, (0, 0), 2), "blur"),
        (lambda picture: cv2.blur(picture, (9, 1)), "blur"),
        (lambda picture: picture // 2, "exposure"),
        (lambda picture: picture + 60, "exposure"),
        (lambda picture: np.where(np.arange(80) < 8, np.uint8(255), picture), "saturation"),
        (lambda picture: np.tile(picture, (3, 1)), "size"),
        (lambda picture: picture[:36], "size"),
        (lambda picture: tiny_picture(96, 80, grain=3 * GRAIN), "product"),
    ],
    ids=["defocus", "motion", "dark", "bright", "clipped", "long", "short", "other"],
)
def test_picture_outside_the_gate_is_reviewed_with_the_reason(
    gated: Inspector, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]], rule: str
) -> None:
    assert rule in rules(gated, change(tiny_picture(96, 80, grain=GRAIN)))


def test_reasons_of_the_gate_stand_before_those_of_the_recipe(gated: Inspector) -> None:
    found = gated.inspect(png(tiny_picture(96, 80, DARK, GRAIN) // 2))
    assert found.verdict == "review"
    first, last = found.reasons[0], found.reasons[-1]
    assert (first.rule, first.measured, first.limit, first.unit) == ("exposure", 64, 90, "grey_levels")
    assert first.defect_class is None
    assert last.rule == "max_count"


def test_a_bundle_without_gate_has_no_scores(tmp_path: Path) -> None:
    inspector = Inspector.load(write_tiny_bundle(tmp_path), device="cpu")
    found = inspector.inspect(png(tiny_picture(96, 80) // 3))
    assert found.gate_scores is None
    assert "gate" not in found.timings_ms


@given(seed=st.integers(0, 99), gain=st.floats(0.4, 1.6), offset=st.integers(-20, 20))
def test_sharpness_does_not_depend_on_exposure(seed: int, gain: float, offset: int) -> None:
    picture = surface(seed)
    again = np.clip(np.rint(picture * gain + offset), 0, 255).astype(np.uint8)
    if ((again > 0) & (again < 255)).all():
        assert sharpness(again) == pytest.approx(sharpness(picture), rel=0.1)


def test_sharpness_does_not_depend_on_a_defect_or_the_size() -> None:
    picture = surface(height=400, width=520)
    defective = picture.copy()
    cv2.line(defective, (50, 300), (400, 90), 20, 3)
    assert sharpness(defective) == pytest.approx(sharpness(picture), rel=0.2)
    assert sharpness(picture[:160, :200]) == pytest.approx(sharpness(picture), rel=0.25)
    assert sharpness(np.rot90(picture)) == pytest.approx(sharpness(picture))


def rimmed(seed: int = 0) -> NDArray[np.uint8]:
    """A surface with a darker rim."""
    picture = surface(seed)
    inner = picture[30:-30, 30:-30].copy()
    picture = np.asarray(picture // 2, np.uint8)
    picture[30:-30, 30:-30] = inner
    return picture


def border_contrast(picture: NDArray[np.uint8]) -> float:
    return picture_scores(picture)["border_contrast"]


@given(seed=st.integers(0, 99))
def test_an_inverted_image_has_the_opposite_border_contrast(seed: int) -> None:
    for picture in (rimmed(seed), surface(seed)):
        inverted = np.asarray(255 - picture, np.uint8)
        assert border_contrast(inverted) == pytest.approx(-border_contrast(picture), abs=0.05)
    assert border_contrast(rimmed(seed)) < -0.5


def test_border_contrast_does_not_depend_on_exposure_or_a_defect() -> None:
    picture = rimmed()
    found = border_contrast(picture)
    assert border_contrast(np.asarray(picture * 0.6, np.uint8)) == pytest.approx(found, rel=0.1)
    defective = picture.copy()
    cv2.circle(defective, (60, 40), 25, 5, -1)  # on border and inside
    assert border_contrast(defective) == pytest.approx(found, rel=0.25)


def test_border_contrast_of_the_smallest_and_of_flat_images_is_0() -> None:
    for size in ((1, 1), (2, 9), (40, 60)):
        assert border_contrast(np.full(size, 90, np.uint8)) == 0


@pytest.mark.parametrize("deviation", [2, 5, 20])
def test_grain_is_the_standard_deviation_of_the_noise(deviation: int) -> None:
    rng = np.random.default_rng(0)
    slope = np.linspace(90, 160, 300) * np.ones((200, 1))
    slope[:, 150:] += 20  # an edge along columns
    noisy = np.clip(np.rint(slope + rng.normal(0, deviation, slope.shape)), 0, 255).astype(np.uint8)
    assert noise_level(noisy) == pytest.approx(deviation, rel=0.1)
    noisy[20:120, 30:130] = 10  # a defect
    assert noise_level(noisy) == pytest.approx(deviation, rel=0.25)


def test_blur_lowers_sharpness_the_more_the_stronger_it_is() -> None:
    picture = surface()
    found = [sharpness(np.asarray(cv2.GaussianBlur(picture, (0, 0), s), np.uint8)) for s in (0.01, 1, 2)]
    assert found == sorted(found, reverse=True)
    assert found[2] < 0.2 * found[0]


def test_scores_of_pixels_by_hand() -> None:
    picture = np.array([[0, 0, 1, 50], [100, 100, 253, 255]], np.uint8)
    found = picture_scores(np.repeat(picture[..., None], 3, axis=2))
    assert found["clipped_share"] == 0.5
    assert found["brightness"] == 50
    assert (found["short_side_px"], found["long_side_px"]) == (2, 4)
    assert picture_scores(np.full((40, 40), 7, np.uint8))["sharpness"] == 0


def test_distance_is_one_for_a_typical_picture() -> None:
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(5, 5)).astype(np.float32)
    features = (rng.normal(size=(4000, 5)) @ mix + 3).astype(np.float32)
    whitening = np.linalg.cholesky(np.linalg.inv(np.cov(features.T))).astype(np.float32)
    distribution = FeatureDistribution(features.mean(axis=0), whitening)
    distances = [distribution.distance(each) for each in features]
    assert np.sqrt(np.mean(np.square(distances))) == pytest.approx(1, abs=0.01)
    assert distribution.distance(features.mean(axis=0)) == 0


def test_graph_must_have_features_where_there_is_a_gate_and_may_have_them_elsewhere(tmp_path: Path) -> None:
    for gate in (True, False):
        directory = write_tiny_bundle(tmp_path / str(gate), gate=gate)
        (directory / "model.onnx").write_bytes(tiny_graph(2, 64, 1, not gate))
        manifest = json.loads((directory / "bundle.json").read_text())
        manifest["artifacts"][0]["sha256"] = sha256(directory / "model.onnx")
        (directory / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleInvalid, match="the graph has"):
        OnnxSession(Bundle.load(tmp_path / "True"), "cpu")
    tiles = np.zeros((2, 64, 64, 1), np.uint8)
    assert OnnxSession(Bundle.load(tmp_path / "False"), "cpu").run(tiles).features.shape == (2, 0)


def test_features_of_a_tile_do_not_depend_on_its_batch(gated: Inspector) -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (9, 64, 64, 1), dtype=np.uint8)
    together = gated.session.run(tiles).features
    assert together.shape == (9, 2)
    np.testing.assert_array_equal(together[4:5], gated.session.run(tiles[4:5]).features)


def _edit(directory: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    manifest = json.loads((directory / "bundle.json").read_text())
    change(manifest["artifacts"][0]["gate"])
    (directory / "bundle.json").write_text(json.dumps(manifest))
    return directory


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda gate: gate["checks"][1].update(low=200.0), "low must be at most high"),
        (lambda gate: gate["checks"][1].update(edges=[3.0, 2.0, 4.0]), "edges must increase"),
        (lambda gate: gate["checks"][0].update(shares=[1.0]), "one more than edges"),
        (lambda gate: gate["checks"].append(gate["checks"][0]), "different scores"),
        (lambda gate: gate["checks"][0].update(score="smell"), "score"),
        (lambda gate: gate.update(checks=[]), "checks"),
    ],
)
def test_gate_that_breaks_the_schema_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    with pytest.raises(BundleInvalid, match=says):
        Bundle.load(_edit(write_tiny_bundle(tmp_path, gate=True), change))


def test_features_file_is_checked(tmp_path: Path) -> None:
    directory = write_tiny_bundle(tmp_path, gate=True)
    file = directory / "gate.npz"
    file.write_bytes(b"nothing")
    with pytest.raises(BundleCorrupt, match=r"gate\.npz"):
        Bundle.load(directory)
    _edit(directory, lambda gate: gate.update(features_sha256=sha256(file)))
    with pytest.raises(BundleInvalid, match="not readable"):
        Inspector.load(directory, device="cpu")
    np.savez(file, mean=np.zeros(3, np.float32), whitening=np.eye(3, dtype=np.float32))
    _edit(directory, lambda gate: gate.update(features_sha256=sha256(file)))
    with pytest.raises(BundleInvalid, match=r"mean is <f4 of shape \(3,\)"):
        Inspector.load(directory, device="cpu")


def test_features_at_no_distance_are_no_answer(gated: Inspector) -> None:
    gate = gated.session.artifact.gate
    assert gate is not None
    features = np.full(gate.feature_count, np.finfo(np.float32).max, np.float32)
    with np.errstate(all="ignore"), pytest.raises(InferenceFailed, match="no finite distance"):
        InputGate(gated.bundle, gate).look(surface(), features)

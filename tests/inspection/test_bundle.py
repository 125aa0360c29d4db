"""Bundles are read whole and unchanged, or refused with the reason."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.inspection.bundle.bundle import Bundle
from app.inspection.bundle.calibration import Curve, ProbabilityCalibration
from app.inspection.errors import BundleCorrupt, BundleInvalid
from tests.tiny_bundle import sha256, write_tiny_bundle


def edit(directory: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change a bundle's bundle.json in place."""
    manifest = json.loads((directory / "bundle.json").read_text())
    change(manifest)
    (directory / "bundle.json").write_text(json.dumps(manifest))
    return directory


def test_tiny_bundle_loads(bundle_dir: Path) -> None:
    bundle = Bundle.load(bundle_dir)
    assert bundle.directory == bundle_dir
    assert bundle.class_names == ("dark", "bright")
    assert bundle.default_recipe.name == "tiny"
    assert bundle.input.channels == 1
    assert set(bundle.hashes) == {
        "model.onnx", "recipe.yaml", "golden/defective.png", "golden/defective.mask.png", "golden/good.png",
        "golden/good.mask.png",
    }  # fmt: skip


@pytest.mark.parametrize("file", ["model.onnx", "recipe.yaml", "golden/good.png", "golden/good.mask.png"])
def test_changed_or_missing_file_is_named(tmp_path: Path, file: str) -> None:
    write_tiny_bundle(tmp_path)
    path = tmp_path / file
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(BundleCorrupt, match=file):
        Bundle.load(tmp_path)
    path.unlink()
    with pytest.raises(BundleCorrupt, match=file):
        Bundle.load(tmp_path)


@pytest.mark.parametrize("file", ["bundle.json", "model.onnx"])
def test_a_pipe_in_the_place_of_a_file_holds_nobody_up(tmp_path: Path, file: str) -> None:
    write_tiny_bundle(tmp_path)
    pipe = tmp_path / file
    pipe.unlink()
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"",), daemon=True)  # ends the wait of a reader
    writer.start()
    with pytest.raises(BundleCorrupt, match=f"{file} is not a regular file"):
        Bundle.load(tmp_path)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer.join()
    os.close(reading)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"levels": [0.1], "margins": [0.2]}, "levels must begin with 0 and increase"),
        ({"levels": [0.0, 0.5, 0.5], "margins": [0.2, 0.1, 0.1]}, "levels must begin with 0 and increase"),
        ({"levels": [0.0, 0.5], "margins": [0.2]}, "the same length"),
        ({"levels": [0.0, 0.5], "margins": [0.1, 0.2]}, "margins must not increase"),
        ({"levels": [], "margins": []}, "levels"),
        ({"coverage": 1.0}, "coverage"),
    ],
)
def test_an_interval_that_cannot_be_meant_is_refused(
    tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    interval = {"coverage": 0.9, "pictures": 30, "groups": 20, "levels": [0.0], "margins": [0.2]} | change

    def add(manifest: dict[str, Any]) -> None:
        manifest["artifacts"][0]["operating_point"]["dice_interval"] = interval

    with pytest.raises(BundleInvalid, match=says):
        Bundle.load(edit(write_tiny_bundle(tmp_path), add))


def test_directory_without_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleCorrupt, match=r"bundle\.json"):
        Bundle.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"schema_version": "3"}, "schema_version"),
        ({"surprise": 1}, "surprise: Extra inputs"),
        ({"classes": []}, "classes"),
        ({"classes": [{"name": "a", "severity": "bad"}]}, r"classes\.0\.severity"),
        ({"classes": [{"name": "a", "severity": "minor"}] * 2}, "different names"),
        ({"artifacts": []}, "artifacts"),
        ({"created": "yesterday"}, "created"),
        ({"name": "../evil"}, "name"),
        ({"recipe_sha256": "0"}, "recipe_sha256"),
    ],
)
def test_manifest_that_breaks_the_schema_is_refused(
    tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    edit(write_tiny_bundle(tmp_path), lambda manifest: manifest.update(change))
    with pytest.raises(BundleInvalid, match=says):
        Bundle.load(tmp_path)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff\xfe", b"null"])
def test_manifest_that_is_no_manifest_is_refused(tmp_path: Path, text: bytes) -> None:
    (write_tiny_bundle(tmp_path) / "bundle.json").write_bytes(text)
    with pytest.raises(BundleInvalid):
        Bundle.load(tmp_path)


def _overlap(manifest: dict[str, Any]) -> None:
    manifest["input"]["overlap"] = 40


def _threshold(manifest: dict[str, Any]) -> None:
    manifest["artifacts"][0]["operating_point"]["pixel_threshold"] = 0


@pytest.mark.parametrize(
    ("change", "says"), [(_overlap, "half of the tile"), (_threshold, "pixel_threshold")]
)
def test_values_that_make_no_sense_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    with pytest.raises(BundleInvalid, match=says):
        Bundle.load(edit(write_tiny_bundle(tmp_path), change))


@pytest.mark.parametrize("absolute", [True, False])
def test_paths_that_leave_the_bundle_are_refused(tmp_path: Path, absolute: bool) -> None:
    outside = tmp_path / "recipe.yaml"
    outside.write_text("name: outside")
    directory = write_tiny_bundle(tmp_path / "bundle")

    def leave(manifest: dict[str, Any]) -> None:
        manifest["recipe"] = str(outside) if absolute else "../recipe.yaml"
        manifest["recipe_sha256"] = sha256(outside)

    with pytest.raises(BundleInvalid, match="outside the bundle"):
        Bundle.load(edit(directory, leave))


def test_links_that_leave_the_bundle_are_refused(tmp_path: Path) -> None:
    directory = write_tiny_bundle(tmp_path / "bundle")
    (directory / "recipe.yaml").rename(tmp_path / "recipe.yaml")
    (directory / "recipe.yaml").symlink_to(tmp_path / "recipe.yaml")
    with pytest.raises(BundleInvalid, match="outside the bundle"):
        Bundle.load(directory)


@pytest.mark.parametrize(
    ("recipe", "says"), [("name: a\nlimits: {scratch: {max_count: 0}}", "scratch"), ("name:", "recipe.yaml")]
)
def test_default_recipe_must_fit_the_bundle(tmp_path: Path, recipe: str, says: str) -> None:
    with pytest.raises(BundleInvalid, match=says):
        Bundle.load(write_tiny_bundle(tmp_path, recipe=recipe))


def test_file_changed_after_loading_is_not_read(tmp_path: Path) -> None:
    bundle = Bundle.load(write_tiny_bundle(tmp_path))
    (tmp_path / "model.onnx").write_bytes(b"another model")
    with pytest.raises(BundleCorrupt, match=r"model\.onnx"):
        bundle.read("model.onnx")


def test_calibration_table() -> None:
    levels = np.arange(256) / 255
    np.testing.assert_allclose(ProbabilityCalibration().mask_table(), levels, atol=1e-6)
    table = ProbabilityCalibration(mask_temperature=2.0).mask_table()
    assert (table[0], table[255]) == (0.0, 1.0)
    assert np.all(np.diff(table) > 0)
    odds = levels[1:-1] / (1 - levels[1:-1])
    np.testing.assert_allclose(table[1:-1], np.sqrt(odds) / (1 + np.sqrt(odds)), rtol=1e-5)


def test_curve_along_knots() -> None:
    table = Curve(levels=(51, 102, 204), probabilities=(0.0, 0.4, 0.5)).table()
    assert table[[0, 51, 102, 153, 204, 255]] == pytest.approx([0, 0, 0.4, 0.45, 0.5, 0.5])


def test_calibration_of_any_defect_goes_before_the_old_temperature() -> None:
    knots = Curve(levels=(0, 255), probabilities=(0.1, 0.9))
    new = ProbabilityCalibration(mask_temperature=2.0, any_defect=knots)
    np.testing.assert_array_equal(new.mask_table(), knots.table())
    old = ProbabilityCalibration.model_validate_json('{"mask_temperature": 2.0}', strict=True)
    np.testing.assert_array_equal(old.mask_table(), Curve(temperature=2.0).table())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mask_temperature": 0}, "mask_temperature"),
        ({"image": {"levels": [1, 2], "probabilities": [0.5]}}, "the same length"),
        ({"image": {"levels": [2, 2], "probabilities": [0.5, 0.6]}}, "levels must increase"),
        ({"image": {"levels": [1, 2], "probabilities": [0.6, 0.5]}}, "must not decrease"),
        ({"classes": [{}, {}, {}]}, "one curve for each"),
    ],
)
def test_calibration_that_breaks_the_schema_is_refused(
    tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(BundleInvalid, match=says):
        Bundle.load(write_tiny_bundle(tmp_path, calibration=change))


def test_gate_of_some_artifacts_only_is_refused(tmp_path: Path) -> None:
    directory = write_tiny_bundle(tmp_path, gate=True)

    def add_int8(manifest: dict[str, Any]) -> None:
        manifest["artifacts"].append(manifest["artifacts"][0] | {"name": "int8", "gate": None})

    edit(directory, add_int8)
    with pytest.raises(BundleInvalid, match="int8 has none"):
        Bundle.load(directory)


def test_bundle_with_curves_loads(tmp_path: Path) -> None:
    curve = {"levels": [0, 255], "probabilities": [0.25, 0.75]}
    calibration = {"any_defect": curve, "classes": [curve, {"temperature": 2.0}], "image": curve}
    loaded = Bundle.load(write_tiny_bundle(tmp_path, calibration=calibration)).artifacts[0].calibration
    assert loaded.mask_table()[[0, 255]] == pytest.approx([0.25, 0.75])
    assert loaded.classes[1] == Curve(temperature=2.0)
    assert loaded.image.table()[255] == pytest.approx(0.75)

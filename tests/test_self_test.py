"""A bundle whose files are all as their hashes say, and which is wrong all the same, is never served."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from app.inspection.bundle.bundle import MANIFEST, Bundle
from app.inspection.bundle.self_test import CELLS, mean_levels
from app.main import create_app
from app.settings import Settings
from tests.convolving_bundle import write_convolving_bundle
from tests.golden_faults import CHANGES, corrupt, found_by_the_self_test, rehash, weights_of
from tests.local_client import LocalClient
from tests.tiny_bundle import png, sha256, tiny_picture, write_tiny_bundle
from training.bundle.golden import answered
from training.files import write_manifest


def readiness(directory: Path) -> tuple[int, str]:
    """Status and body of /readyz on a bundle."""
    with LocalClient(create_app(Settings(bundle_dir=directory, device="cpu", threads=1))) as client:
        response = client.get("/readyz")
        return response.status_code, response.text


def give_answers(directory: Path) -> Path:
    """Add to a bundle what it answers to its golden samples."""
    write_manifest(directory, answered(Bundle.load(directory)))
    return directory


def change_manifest(directory: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads((directory / MANIFEST).read_text())
    change(manifest)
    (directory / MANIFEST).write_text(json.dumps(manifest))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return give_answers(write_tiny_bundle(tmp_path / "tiny"))


def test_sound_bundle_is_ready(tiny: Path) -> None:
    assert readiness(tiny)[0] == 200


@pytest.mark.parametrize("kind", CHANGES)
def test_one_corrupted_weight_keeps_the_service_unready(tmp_path: Path, kind: str) -> None:
    directory = give_answers(write_convolving_bundle(tmp_path))
    assert found_by_the_self_test(directory) is None
    graph = directory / "model.onnx"
    whole = graph.read_bytes()
    for name in weights_of(graph):
        corrupt(graph, name, 0, CHANGES[kind])
        rehash(directory)
        assert found_by_the_self_test(directory) is not None, name
        graph.write_bytes(whole)
    corrupt(graph, weights_of(graph)[1], 0, CHANGES[kind])
    rehash(directory)
    status, said = readiness(directory)
    assert status == 503
    assert "golden/defective.png" in said
    assert ("not between 0 and 1" if kind == "NaN" else "probability of dark off by") in said


def test_swapped_class_channels_are_named(tiny: Path) -> None:
    model = onnx.load(tiny / "model.onnx")
    middle = next(each for each in model.graph.initializer if each.name == "middle")
    swapped = onnx.numpy_helper.to_array(middle)[:, ::-1].copy()
    middle.CopyFrom(onnx.numpy_helper.from_array(swapped, "middle"))
    onnx.save(model, tiny / "model.onnx")
    rehash(tiny)
    status, said = readiness(tiny)
    assert status == 503
    assert "mostly bright where dark is expected" in said
    assert "its main class is bright, not dark" in said


def test_swapped_class_names_are_named(tiny: Path) -> None:
    change_manifest(tiny, lambda manifest: manifest["classes"].reverse())
    status, said = readiness(tiny)
    assert status == 503
    assert "its main class is bright, not dark" in said


def _looking_at(directory: Path, channel: int) -> None:
    """Make the graph see one colour channel alone."""
    model = onnx.load(directory / "model.onnx")
    place = next(k for k, node in enumerate(model.graph.node) if node.op_type == "ReduceMean")
    old = model.graph.node[place]
    index = onnx.numpy_helper.from_array(np.array(channel, np.int64), "channel")
    model.graph.initializer.append(index)
    model.graph.node.insert(place, helper.make_node("Gather", [old.input[0], "channel"], old.output, axis=3))
    model.graph.node.remove(old)
    onnx.save(model, directory / "model.onnx")


@pytest.mark.parametrize(("channel", "ready"), [(0, True), (2, False)])
def test_swapped_colours_are_named(tmp_path: Path, channel: int, ready: bool) -> None:
    directory = write_tiny_bundle(tmp_path, colour="rgb")
    red = np.dstack([tiny_picture(96, 80, dark=(20, 30, 12, 9)), *[tiny_picture(96, 80)] * 2])
    (directory / "golden/defective.png").write_bytes(png(red))
    change_manifest(
        directory,
        lambda manifest: manifest["golden"][0].update(
            image_sha256=sha256(directory / "golden/defective.png")
        ),
    )
    plain = (directory / "model.onnx").read_bytes()
    _looking_at(directory, 0)
    rehash(directory)
    give_answers(directory)
    (directory / "model.onnx").write_bytes(plain)
    _looking_at(directory, channel)
    rehash(directory)
    status, said = readiness(directory)
    assert status == (200 if ready else 503)
    assert ("mostly no defect where dark is expected" in said) is not ready


@pytest.mark.parametrize(
    ("threshold", "value", "was"),
    [("image_threshold", 0.51, 0.5), ("pixel_threshold", 0.4, 0.5), ("min_area_px", 5, 4)],
)
def test_wrong_threshold_is_named_even_where_no_answer_changes(
    tiny: Path, threshold: str, value: float, was: float
) -> None:
    change_manifest(
        tiny, lambda manifest: manifest["artifacts"][0]["operating_point"].update({threshold: value})
    )
    status, said = readiness(tiny)
    assert status == 503
    assert f"{threshold} {value} is in force, but the golden samples were made with {was}" in said


INTERVAL = {"coverage": 0.9, "pictures": 9, "groups": 9, "levels": [0.0], "margins": [0.1]}
Manifest = dict[str, Any]


def _first(manifest: Manifest) -> dict[str, Any]:
    return manifest["artifacts"][0]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda all_: _first(all_)["gate"]["checks"][0].update(high=9.0), "input gate"),
        (lambda all_: _first(all_).update(gate=None), "input gate"),
        (lambda all_: _first(all_)["calibration"].update(mask_temperature=2.0), "calibration"),
        (
            lambda all_: _first(all_)["operating_point"].update(dice_interval=INTERVAL),
            "Dice interval",
        ),
        (lambda all_: _first(all_)["operating_point"].update(head_threshold=0.6), "operating point"),
        (lambda all_: _first(all_)["operating_point"]["regions"].update(bias=-4.9), "operating point"),
        (lambda all_: _first(all_)["operating_point"]["expected"].update(escape_rate=0.7), "operating point"),
        (lambda all_: all_["classes"][0].update(severity="minor"), "severities"),
        (lambda all_: all_["input"].update(min_side_px=8), "input contract"),
    ],
)
def test_whatever_else_decides_or_is_promised_is_named_where_it_changed(
    tmp_path: Path, change: Callable[[Manifest], None], says: str
) -> None:
    directory = give_answers(write_tiny_bundle(tmp_path, gate=True))
    assert found_by_the_self_test(directory) is None
    change_manifest(directory, change)
    status, said = readiness(directory)
    assert status == 503
    assert says in said
    assert "in force is not what the golden samples were made with" in said


def test_features_that_changed_are_named(tmp_path: Path) -> None:
    directory = give_answers(write_tiny_bundle(tmp_path, gate=True))
    change_manifest(
        directory, lambda manifest: manifest["golden"][1]["answers"][0].update(feature_distance=0.01)
    )
    status, said = readiness(directory)
    assert status == 503
    assert "golden/good.png: the input gate's feature distance is" in said


def test_threshold_that_hides_a_defect_is_named_in_a_bundle_without_answers(tmp_path: Path) -> None:
    directory = write_tiny_bundle(tmp_path)
    change_manifest(
        directory, lambda manifest: manifest["artifacts"][0]["operating_point"].update(image_threshold=0.99)
    )
    status, said = readiness(directory)
    assert status == 503
    assert "golden/defective.png: verdict review, not fail" in said
    assert "mostly no defect where dark is expected" in said


def test_an_artifact_is_held_to_its_own_answers(tiny: Path) -> None:
    def add_int8(manifest: dict[str, Any]) -> None:
        manifest["artifacts"][0]["providers"] = ["CUDAExecutionProvider"]
        int8 = manifest["artifacts"][0] | {"name": "int8", "providers": ["CPUExecutionProvider"]}
        manifest["artifacts"].append(int8)

    change_manifest(tiny, add_int8)
    give_answers(tiny)
    assert found_by_the_self_test(tiny) is None

    def off(manifest: dict[str, Any], artifact: int) -> None:
        manifest["golden"][0]["answers"][artifact]["mean_levels"][1][5] = 40.0

    change_manifest(tiny, lambda manifest: off(manifest, 0))
    assert found_by_the_self_test(tiny) is None  # of fp32, which does not run here
    change_manifest(tiny, lambda manifest: off(manifest, 1))
    said = found_by_the_self_test(tiny)
    assert said is not None
    assert "int8 on CPUExecutionProvider" in said
    assert "probability of bright off by" in said
    assert "row 2, column 2 of 4 x 4 cells" in said


@pytest.mark.parametrize(("artifact", "noticed"), [("fp32", True), ("int8", False)])
def test_only_fp32_where_it_was_made_is_held_tightly(tiny: Path, artifact: str, noticed: bool) -> None:
    def shift(manifest: dict[str, Any]) -> None:
        manifest["artifacts"][0]["name"] = artifact
        manifest["golden_settings"][0]["artifact"] = artifact
        answer = manifest["golden"][0]["answers"][0]
        answer["artifact"] = artifact
        answer["mean_levels"][0] = [level + 0.2 for level in answer["mean_levels"][0]]

    change_manifest(tiny, shift)
    assert (found_by_the_self_test(tiny) is not None) is noticed


def test_mean_levels_by_hand() -> None:
    probability = np.zeros((2, 10, 8), np.uint8)
    probability[1, 2:5, 6:] = 90  # the rows are cut at 2, 5 and 7, the columns at 2, 4 and 6
    levels = mean_levels(probability)
    assert levels[0] == (0.0,) * CELLS**2
    assert levels[1] == tuple(90.0 if cell == 7 else 0.0 for cell in range(CELLS**2))


def test_answers_of_too_few_classes_are_refused(tiny: Path) -> None:
    change_manifest(tiny, lambda manifest: manifest["golden"][0]["answers"][0]["mean_levels"].pop())
    status, said = readiness(tiny)
    assert status == 503
    assert "mean_levels of a golden answer must have all 2 classes" in said


def test_a_bundle_that_must_fail_or_pass_nothing_is_not_served(tiny: Path) -> None:
    """It reproduces its answers, and shows nothing by it."""
    change_manifest(
        tiny, lambda manifest: manifest["artifacts"][0]["operating_point"].update(image_threshold=0.99)
    )
    give_answers(tiny)
    assert found_by_the_self_test(tiny) is None
    status, said = readiness(tiny)
    assert status == 503
    assert "no golden sample has the verdict fail; at least one must fail and one pass" in said
    change_manifest(tiny, lambda manifest: manifest.update(golden=manifest["golden"][:1]))
    assert "no golden sample has the verdict fail or pass" in readiness(tiny)[1]


def test_a_bundle_cannot_loosen_its_tolerances_beyond_the_limits(tiny: Path) -> None:
    for name in ("golden_tolerance", "golden_tolerance_at_home"):
        for field, loose in (
            ("min_mask_iou", 0.0),
            ("max_image_probability_difference", 1.0),
            ("max_level_difference", 255.0),
            ("max_relative_feature_difference", 1.0),
        ):
            before = (tiny / MANIFEST).read_text()
            change_manifest(tiny, functools.partial(loosen, name, field, loose))
            status, said = readiness(tiny)
            assert status == 503
            assert f"{name}.{field}: Input should be " in said
            (tiny / MANIFEST).write_text(before)


def loosen(name: str, field: str, value: float, manifest: dict[str, Any]) -> None:
    """Set one tolerance."""
    manifest.setdefault(name, {})[field] = value


def test_answers_are_given_anew_after_thresholds_have_changed(tiny: Path) -> None:
    change_manifest(
        tiny, lambda manifest: manifest["artifacts"][0]["operating_point"].update(image_threshold=0.99)
    )
    give_answers(tiny)
    assert found_by_the_self_test(tiny) is None
    assert {sample.verdict for sample in Bundle.load(tiny).golden} == {"review", "pass"}

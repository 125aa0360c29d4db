"""Artifacts beside fp32: the graphs, what they may lose, and which provider gets which."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from app.inspection.bundle.bundle import Bundle
from tests.convolving_bundle import DECODER, ENCODER, HEAD, TILE, write_convolving_bundle
from tests.tiny_bundle import sha256, write_tiny_bundle
from training.bundle.artifacts.budget import ArtifactVerdicts, losses_to, verdicts_of
from training.bundle.artifacts.convert import OUTSIDE, Quantiser, layers_of, write_fp16
from training.bundle.artifacts.latency import assign_providers, ratios
from training.bundle.artifacts.make import Source, make_artifacts, quantisation_samples
from training.config import OperatingPointConfig
from training.data.splits import Splits
from training.sessions import inspector_of
from training.thresholds.learn import Unseen
from training.thresholds.predictions import score

from .labelled import labelled, tiny_dataset

ALL = (
    "TensorrtExecutionProvider",
    "CUDAExecutionProvider",
    "OpenVINOExecutionProvider",
    "CPUExecutionProvider",
)


@pytest.fixture(scope="module")
def convolving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_convolving_bundle(tmp_path_factory.mktemp("bundle"))


def _tiles(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(1).integers(0, 256, (count, TILE, TILE, 1), dtype=np.uint8)


def _quantised(model: onnx.ModelProto) -> set[str]:
    """The convolutions whose weights are integers."""
    integers = {each.name for each in model.graph.initializer if each.data_type == TensorProto.INT8}
    weights = {
        node.output[0]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in integers
    }
    return {node.name for node in model.graph.node if node.op_type == "Conv" and node.input[1] in weights}


def test_layers_are_the_blocks_of_the_network(convolving: Path) -> None:
    layers = layers_of(onnx.load(convolving / "model.onnx"))
    assert layers == {
        **dict.fromkeys(("cast", "transpose", "div"), OUTSIDE),
        **dict.fromkeys(("conv-1", "relu-1"), ENCODER),
        **dict.fromkeys(("conv-2", "relu-2"), DECODER),
        "conv-3": HEAD,
        **dict.fromkeys(("sigmoid", "mul", "round", "to-uint8", "head"), OUTSIDE),
    }


def test_int8_quantises_all_but_the_layers_named(convolving: Path, tmp_path: Path) -> None:
    quantiser = Quantiser(convolving / "model.onnx", list(_tiles(4)), tmp_path / "work")
    assert quantiser.layers == (ENCODER, DECODER, HEAD)
    quantiser.write(tmp_path / "all.onnx")
    quantiser.write(tmp_path / "some.onnx", [DECODER])
    assert _quantised(onnx.load(tmp_path / "all.onnx")) == {"conv-1", "conv-2", "conv-3"}
    assert _quantised(onnx.load(tmp_path / "some.onnx")) == {"conv-1", "conv-3"}


@pytest.mark.parametrize(("name", "most"), [("fp16", 2), ("int8", 12)])
def test_artifact_answers_nearly_as_fp32(convolving: Path, name: str, most: int, tmp_path: Path) -> None:
    bundle = Bundle.load(convolving)
    fp32 = bundle.artifacts[0]
    path = convolving / f"model.{name}.onnx"
    if name == "fp16":
        write_fp16(convolving / fp32.file, path)
    else:
        Quantiser(convolving / fp32.file, list(_tiles(8)), tmp_path / "work").write(path)
    artifact = fp32.model_copy(
        update={"name": name, "file": path.name, "sha256": sha256(path), "providers": ("none",)}
    )
    found, expected = (inspector_of(bundle, each).session.run(_tiles(3)) for each in (artifact, fp32))
    difference = np.abs(found[0].astype(int) - expected[0])
    assert 0 < difference.max() <= most  # 0 would be fp32 itself
    np.testing.assert_allclose(found[1], expected[1], atol=most / 255)
    assert set(ratios(bundle, fp32, artifact, _tiles(1)[0])) == {"CPUExecutionProvider"}


def test_answers_of_a_set(tmp_path: Path) -> None:
    bundle = Bundle.load(write_tiny_bundle(tmp_path / "tiny"))
    inspector = inspector_of(bundle, bundle.artifacts[0])
    scored = score(inspector, tiny_dataset(tmp_path).samples)
    found = verdicts_of(scored, inspector.session.artifact.operating_point)
    assert found.verdicts == {"found": "fail", "escaped": "pass", "passed": "pass", "alarm": "fail"}
    assert (set(found.escapes), found.dice) == ({"escaped"}, 0.5)


REFERENCE = ArtifactVerdicts(0.8, {"a": "fail", "b": "pass", "c": "pass"}, frozenset("ab"))


@pytest.mark.parametrize(
    ("found", "beyond"),
    [
        (REFERENCE, []),
        (replace(REFERENCE, dice=0.795), []),
        (replace(REFERENCE, dice=0.7949), ["it loses 0.0051 of Dice (at most 0.005)"]),
        (replace(REFERENCE, verdicts={"a": "review", "b": "fail", "c": "fail"}), []),
        (
            replace(REFERENCE, verdicts={"a": "pass", "b": "fail", "c": "pass"}),
            ["it passes 1 defective image(s) that fp32 stops (at most 1% of 2)"],
        ),
        (
            replace(REFERENCE, verdicts={"a": "pass", "b": "pass", "c": "pass"}),
            [
                "it passes 1 more defective image(s) than fp32 (none is allowed)",
                "it passes 1 defective image(s) that fp32 stops (at most 1% of 2)",
            ],
        ),
    ],
)
def test_budget(found: ArtifactVerdicts, beyond: list[str]) -> None:
    assert losses_to(found, REFERENCE)["beyond_budget"] == beyond


def test_rounding_at_a_threshold_is_allowed_in_both_directions() -> None:
    names = [f"bad {number}" for number in range(200)]
    stopped = dict.fromkeys(names, "fail") | {"bad 0": "pass", "bad 1": "pass"}
    other_way = dict.fromkeys(names, "fail") | {"bad 2": "pass", "bad 3": "pass"}
    reference = ArtifactVerdicts(0.8, stopped, frozenset(names))  # type: ignore[arg-type]
    found = replace(reference, verdicts=other_way)  # type: ignore[arg-type]
    figures = losses_to(found, reference)
    assert (figures["new_escapes"], figures["beyond_budget"]) == (2, [])


def test_flips_are_counted_in_the_budget() -> None:
    found = replace(REFERENCE, verdicts={"a": "review", "b": "fail", "c": "pass"})
    assert losses_to(found, REFERENCE)["verdict_flips"] == 2


def test_provider_gets_what_is_fastest_on_it() -> None:
    shares = assign_providers(
        ALL, {"fp16": {"CPUExecutionProvider": 1.1}, "int8": {"CPUExecutionProvider": 0.6}}
    )
    assert {name: providers for name, (providers, _) in shares.items()} == {
        "fp32": ("OpenVINOExecutionProvider",),
        "fp16": ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
        "int8": ("CPUExecutionProvider",),
    }
    assert "takes 0.60 of the time of fp32" in shares["int8"][1]
    assert "not measured" in shares["fp16"][1]
    assert "not measured" in shares["fp32"][1]


def test_provider_keeps_the_reference_where_nothing_is_gained() -> None:
    shares = assign_providers(ALL, {"int8": {"CPUExecutionProvider": 0.97}})
    assert shares["fp32"][0] == ALL
    assert shares["int8"] == ((), "")
    assert "int8 takes 0.97 of its time, no gain" in shares["fp32"][1]


def test_quantisation_samples_are_of_both_kinds_and_spread(tmp_path: Path) -> None:
    one = tiny_dataset(tmp_path).samples
    chosen = quantisation_samples([replace(each, name=f"{each.name}-{k}") for k in range(50) for each in one])
    assert len({each.name for each in chosen}) == len(chosen) == 48
    assert sum(each.defective for each in chosen) == 24
    assert {each.name.split("-")[1] for each in chosen} >= {"0", "49"}


def _splits(directory: Path, size: tuple[int, int] = (40, 48)) -> Splits:
    """Dark boxes of several sizes, found or not, and good images, in every split."""
    boxes = [(4 * k, 3 * k, 12 + k, 10) for k in range(1, 5)]
    names = ("train", "validation", "calibration", "test")
    directory.mkdir()
    return {
        name: [labelled(directory, f"{name}-bad-{k}", box, box, size) for k, box in enumerate(boxes)]
        + [labelled(directory, f"{name}-good-{k}", size=size) for k in range(4)]
        for name in names
    }


def _unseen(bundle: Bundle, splits: Splits) -> list[tuple[Source, Unseen]]:
    inspector = inspector_of(bundle, bundle.artifacts[0])
    return [(Source(bundle, splits["train"]), Unseen(inspector, splits["calibration"], splits["validation"]))]


def test_accepted_artifacts_come_with_their_operating_point_and_reason(
    convolving: Path, tmp_path: Path
) -> None:
    bundle = Bundle.load(convolving)
    splits = _splits(tmp_path / "pictures")
    made, figures = make_artifacts(
        Source(bundle, splits["train"]),
        ["fp16", "int8"],
        _unseen(bundle, splits),
        OperatingPointConfig(),
        tmp_path / "work",
    )
    assert set(figures["tried"]) == {"fp16", "int8"}
    for name, trial in figures["tried"].items():
        assert trial["accepted"] is (name in figures["in_bundle"])
        assert trial["accepted"] or trial["refused_because"]
    assert [each.name for each in made.artifacts] == list(figures["in_bundle"])
    providers = [provider for each in made.artifacts for provider in each.providers]
    assert sorted(providers) == sorted(bundle.artifacts[0].providers)  # each provider has exactly one
    for each in made.artifacts:
        assert each.reason == figures["in_bundle"][each.name]["reason"]
        inspector_of(made, each)  # loads, with the hash that the manifest will state
    fp16 = figures["tried"]["fp16"]["tries"][-1]
    assert fp16["pictures"] == 16
    assert set(fp16["time_of_fp32"]) == {"CPUExecutionProvider"}
    assert set(figures["tried"]["int8"]["layer_losses"]) == {ENCODER, DECODER, HEAD}


def test_artifact_beyond_its_budget_is_refused_with_its_figures(
    convolving: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.bundle.artifacts.budget.MAX_DICE_LOSS", -1.0)  # which nothing can keep
    splits = _splits(tmp_path / "pictures")
    bundle = Bundle.load(convolving)
    made, figures = make_artifacts(
        Source(bundle, splits["train"]),
        ["fp16"],
        _unseen(bundle, splits),
        OperatingPointConfig(),
        tmp_path / "work",
    )
    assert [each.name for each in made.artifacts] == ["fp32"]
    trial = figures["tried"]["fp16"]
    assert not trial["accepted"]
    assert "of Dice (at most -1.0)" in trial["refused_because"]
    assert trial["tries"][0]["dice_fp32"] is not None


def test_a_provider_that_takes_the_last_from_fp32_leaves_it_behind_the_others() -> None:
    shares = assign_providers(("CPUExecutionProvider",), {"int8": {"CPUExecutionProvider": 0.5}})
    assert shares["fp32"][0] == ()
    assert shares["int8"][0] == ("CPUExecutionProvider",)

"""The whole journey on generated images in the true layout, and what happens when it is interrupted."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from app.inspection.bundle.bundle import Bundle
from app.inspection.inspector import Inspector
from tests.golden_faults import CHANGES, corrupt, found_by_the_self_test, rehash, weights_of, with_fp32_alone
from tests.tiny_bundle import png
from training.__main__ import main
from training.bundle.export import ServingGraph
from training.config import ConfigError
from training.config_files import load_config, settle
from training.data.layouts.magnetic_tile import write_generated
from training.evaluation import gate as gate_figures
from training.files import write_manifest
from training.model.lightning_module import FineTuning
from training.model.segmenter import build_segmenter
from training.run import Run
from training.sessions import inspector_of
from training.steps import evaluate as evaluate_step
from training.steps import export as export_step
from training.steps.artifacts import gate, operating_point
from training.steps.evaluate import evaluate
from training.steps.export import export
from training.steps.fit import finetune
from training.steps.publish import publish
from training.steps.split import split
from training.thresholds import operating_point as thresholds

pytestmark = pytest.mark.slow
SMOKE = Path("training/configs/smoke.yaml")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiles")
    write_generated(root, count=60, seed=11)
    return root


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run of `passline train run` on the smoke configuration, as the README has it."""
    directory = tmp_path_factory.mktemp("run")
    models = directory / "models"
    arguments = ["--config", SMOKE, "--data", data, "--runs", directory, "--models", models]
    with pytest.MonkeyPatch.context() as patch:  # it measures nothing, so a few images are enough
        # masks of a network that knows hardly anything would be noise, each of thousands of regions
        patch.setattr(thresholds, "PIXEL_THRESHOLDS", (0.5,))
        patch.setattr(export_step, "PARITY_IMAGES", 4)
        patch.setattr(evaluate_step, "GENERATED_TEST_IMAGES", 10)
        patch.setattr(gate_figures, "IMAGES", 5)
        assert main(["run", *map(str, arguments)]) == 0
    config = settle(load_config(SMOKE), "small", "parts", None)
    return Run(config, data, directory / "smoke-1", models, "passline train run")


def test_bundle_is_published_and_works(trained: Run) -> None:
    target = trained.models / "smoke/1"
    Inspector.load(target, device="cpu").self_test()
    assert (target / "MODEL_CARD.md").read_text().startswith("# smoke 1")
    assert not list(trained.models.glob("smoke/.*"))


def test_published_bundle_says_nothing_of_this_machine(trained: Run) -> None:
    here = (str(Path.cwd()).encode(), str(trained.data).encode(), str(trained.models).encode())
    for file in (trained.models / "smoke/1").rglob("*.*"):
        assert not any(place in file.read_bytes() for place in here), file
    figures = json.loads((trained.models / "smoke/1/evaluation.json").read_text())
    assert figures["command"].endswith("--data DATA --runs RUNS --models MODELS")


def test_bundle_is_drafted_with_chosen_thresholds_and_figures(trained: Run) -> None:
    inspector = Inspector.load(trained.bundle, device="cpu")
    expected = inspector.session.artifact.operating_point.expected
    assert expected is not None
    assert expected.split == "test"
    figures = json.loads((trained.bundle / "evaluation.json").read_text())
    splits = json.loads((trained.directory / "splits.json").read_text())
    test = figures["test"]
    assert test["pictures"] == len(splits["test"])
    recount = {kind: sum(test["verdicts"][kind].values()) for kind in ("good", "defective")}
    assert recount == {"good": test["good"], "defective": test["defective"]}
    assert test["escape_rate"]["count"] == test["verdicts"]["defective"]["pass"]
    assert figures["parity"]["max_mask_level_difference"] <= 2
    point = inspector.session.artifact.operating_point
    assert point.chosen is not None
    assert point.trade_off is not None
    assert figures["calibration"]["chosen"]["sentence"] == point.chosen.sentence
    assert point.image_threshold in {row.image_threshold for row in point.trade_off.rows}
    assert point.chosen.sentence.startswith("best F1, which promises nothing")


def test_artifacts_are_tried_and_agree_with_torch_on_the_test_split(trained: Run) -> None:
    figures = json.loads((trained.bundle / "evaluation.json").read_text())
    parity = figures["parity"]["test"]
    assert parity["pictures"] == figures["test"]["pictures"]
    assert parity["tiles"] >= parity["pictures"]
    fp32 = parity["artifacts"]["fp32"]
    assert (fp32["verdict_flips"], fp32["new_escapes"]) == (0, 0)
    assert fp32["max_mask_level_difference"] <= 2
    assert fp32["dice_per_defective_picture"] == figures["test"]["dice"]["per_defective_picture"]
    names = {each.name for each in Bundle.load(trained.bundle).artifacts}
    assert names == set(parity["artifacts"]) == set(figures["artifacts"]["in_bundle"])
    assert figures["artifacts"]["tried"]["fp16"]["accepted"] is ("fp16" in names)
    for each in Bundle.load(trained.bundle).artifacts:
        assert each.operating_point.expected is not None
        assert each.operating_point.expected.split == "test"
    assert "## Artifacts" in (trained.models / "smoke/1/MODEL_CARD.md").read_text()


def test_every_artifact_has_a_gate_of_its_own_features(trained: Run) -> None:
    splits = split(trained).splits
    bundle = Bundle.load(trained.bundle)
    for artifact in bundle.artifacts:
        learnt, inspector = artifact.gate, inspector_of(bundle, artifact)
        assert learnt is not None
        assert learnt.features == f"gate.{artifact.name}.npz"
        assert learnt.pictures == len(splits["train"]) + 20
        tile = np.zeros((1, 128, 128, 1), np.uint8)
        assert learnt.feature_count == inspector.session.run(tile).features.shape[1] == 40
        found = inspector.inspect(png(splits["test"][0].pixels()))
        assert found.gate_scores is not None
        assert 0 < found.gate_scores["feature_distance"] < 10


def test_one_corrupted_weight_of_a_trained_network_is_noticed(trained: Run, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(trained.models / "smoke/1", tmp_path / "copy"))
    with_fp32_alone(directory)  # where int8 measures faster the CPU would run that
    stem = weights_of(directory / "model.onnx")[0]
    corrupt(directory / "model.onnx", stem, 0, CHANGES["sign"])
    rehash(directory)
    said = found_by_the_self_test(directory)
    assert said is not None
    assert "levels of 255 on average" in said


def test_graph_answers_like_torch_on_any_batch(trained: Run) -> None:
    config = trained.config
    segmenter = build_segmenter(config.model, 5, config.seed)
    segmenter.load_state_dict(load_file(trained.weights))
    graph = ServingGraph(segmenter).eval()
    bundle = Bundle.load(trained.bundle)
    session = inspector_of(bundle, next(each for each in bundle.artifacts if each.name == "fp32")).session
    tiles = np.random.default_rng(1).integers(0, 256, (5, 128, 128, 1), dtype=np.uint8)
    with torch.inference_mode():
        levels, image = (each.numpy() for each in graph(torch.from_numpy(tiles)))
    for found in (
        session.run(tiles),
        [np.concatenate(each) for each in zip(*map(session.run, tiles[:, None]), strict=True)],
    ):
        assert np.abs(found[0].astype(int) - levels.astype(int)).max() <= 2
        np.testing.assert_allclose(found[1], image, atol=1e-3)


def test_finished_stages_are_not_done_again(trained: Run) -> None:
    before = (trained.bundle / "model.onnx").stat().st_mtime_ns
    weights = trained.weights.stat().st_mtime_ns
    gates = [file.stat().st_mtime_ns for file in sorted(trained.bundle.glob("gate.*.npz"))]
    divided = split(trained)
    for step in (finetune, export, operating_point, gate, evaluate):
        step(divided)
    assert (trained.bundle / "model.onnx").stat().st_mtime_ns == before
    assert trained.weights.stat().st_mtime_ns == weights
    assert gates
    assert [file.stat().st_mtime_ns for file in sorted(trained.bundle.glob("gate.*.npz"))] == gates


def test_a_finished_run_prints_its_figures_and_where_the_report_lies(
    trained: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", SMOKE, "--data", trained.data, "--runs", trained.directory.parent]
    assert main(["run", *map(str, arguments), "--models", str(trained.models), "--replace"]) == 0
    said = capsys.readouterr().out
    figures = json.loads((trained.models / "smoke/1/evaluation.json").read_text())
    escapes = figures["test"]["escape_rate"]
    assert f"escape rate {escapes['value']:.3f} [" in said
    assert f"({escapes['count']} of {escapes['of']})" in said
    assert said.splitlines()[-1] == f"report: {trained.models / 'smoke/1/evaluation.html'}"


def test_a_run_goes_on_from_its_own_bundle(
    trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = yaml.safe_load(SMOKE.read_text())
    settings["small"]["version"] = "2"
    settings["small"]["fit"] = {"steps": 2, "validate_every": 1}
    (tmp_path / "next.yaml").write_text(yaml.safe_dump(settings))
    start = trained.models / "smoke/1"
    words = ["--config", tmp_path / "next.yaml", "--data", f"{trained.data}/", "--from", start]
    folders = ["--runs", tmp_path / "runs", "--models", tmp_path / "models"]
    assert main(["run", *map(str, [*words, *folders]), "--until", "export"]) == 0
    assert f"starts from {start}; new: nothing" in capsys.readouterr().out
    bundle = tmp_path / "runs/smoke-2/bundle"
    known = [json.loads((each / "trained-on.json").read_text()) for each in (start, bundle)]
    assert known[0] == known[1]
    learnt = [each.name for each in Bundle.load(bundle).training.data]
    assert learnt == ["generated"] * 2  # others each time; a real set would count once
    settings["small"]["split"]["seed"] = 9
    (tmp_path / "next.yaml").write_text(yaml.safe_dump(settings))
    assert main(["run", *map(str, [*words, *folders[:1], tmp_path / "other"]), "--until", "split"]) == 2
    assert "thresholds and figures would be too good" in capsys.readouterr().err


def test_other_pictures_are_refused(trained: Run, tmp_path: Path) -> None:
    write_generated(tmp_path, count=60, seed=12)
    with pytest.raises(ConfigError, match="could have been trained on"):
        split(replace(trained, data=tmp_path))


def test_only_a_run_split_by_picture_is_a_comparison(trained: Run) -> None:
    with pytest.raises(ConfigError, match="not of a run split by image"):
        publish(split(replace(trained, comparison=trained.directory)))
    with pytest.raises(ConfigError, match="is missing"):
        publish(split(replace(trained, comparison=trained.directory / "none")))


def test_folder_of_another_configuration_is_refused(trained: Run) -> None:
    other = replace(trained, config=trained.config.model_copy(update={"seed": 2}))
    with pytest.raises(ConfigError, match="another configuration"):
        other.claim()


def test_stages_out_of_order_are_refused(trained: Run, tmp_path: Path) -> None:
    run = split(replace(trained, directory=tmp_path))
    for stage, missing in ((export, "fit"), (operating_point, "export"), (publish, "evaluate")):
        with pytest.raises(ConfigError, match=f"run the step {missing} first"):
            stage(run)
    shutil.copytree(trained.directory, tmp_path, dirs_exist_ok=True)
    (run.bundle / "evaluation.json").unlink()
    bundle = Bundle.load(run.bundle)
    point = bundle.artifacts[0].operating_point.model_copy(update={"expected": None})
    artifact = bundle.artifacts[0].model_copy(update={"operating_point": point})
    write_manifest(run.bundle, bundle.model_copy(update={"artifacts": (artifact,)}))
    with pytest.raises(ConfigError, match="run the step operating-point first"):
        evaluate(run)


class KilledError(Exception):
    pass


def _die_in_second_epoch(module: FineTuning) -> None:
    if module.current_epoch == 1:
        raise KilledError


def test_killed_fit_goes_on_to_the_same_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settle(load_config(SMOKE), "small", "parts", None)
    few = config.fit.model_copy(update={"steps": 6, "validate_every": 3, "batch_size": 4})
    config = config.model_copy(update={"fit": few, "precision": "32-true"})
    whole = split(Run(config, data, tmp_path / "whole", tmp_path, "passline train run"))
    finetune(whole)
    killed = replace(whole, directory=tmp_path / "killed")
    killed.claim()
    with monkeypatch.context() as patch:
        patch.setattr(FineTuning, "on_train_epoch_start", _die_in_second_epoch, raising=False)
        with pytest.raises(KilledError):
            finetune(killed)
    assert not killed.weights.exists()
    finetune(killed)
    first, second = load_file(whole.weights), load_file(killed.weights)
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_command_line_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split_only = ["run", "--config", str(SMOKE), "--until", "split", "--models", str(tmp_path / "models")]
    assert main([*split_only, "--data", str(tmp_path), "--runs", str(tmp_path / "r")]) == 2
    assert "has no known layout" in capsys.readouterr().err
    assert main([*split_only, "--runs", str(tmp_path / "r")]) == 2
    assert "with --data" in capsys.readouterr().err
    for count, status in ((6, 2), (40, 0)):
        data = str(tmp_path / str(count))
        assert main(["data", "generate", data, "--count", str(count)]) == 0
        assert main([*split_only, "--data", data, "--runs", f"{data}-runs"]) == status
    assert "defective images; it needs both" in capsys.readouterr().err
    listed = json.loads((tmp_path / "40-runs/smoke-1/splits.json").read_text())
    assert sum(map(len, listed.values())) == 40


def test_reviewed_images_make_the_next_version_which_is_compared_on_images_that_neither_was_fitted_to(
    trained: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(thresholds, "PIXEL_THRESHOLDS", (0.5,))
    monkeypatch.setattr(export_step, "PARITY_IMAGES", 4)
    monkeypatch.setattr(evaluate_step, "GENERATED_TEST_IMAGES", 10)
    monkeypatch.setattr(gate_figures, "IMAGES", 5)
    shutil.copytree(trained.models, tmp_path / "models")
    data = tmp_path / "reviewed"
    write_generated(data, count=60, seed=12)  # images that the bundle was not trained on
    old = tmp_path / "models/smoke/1"
    arguments = [data, "--bundle", old, "--steps", 6, "--runs", tmp_path, "--models", tmp_path / "models"]
    assert main(["from-history", *map(str, arguments)]) == 0
    new = Bundle.load(tmp_path / "models/smoke/2")
    assert new.class_names == Bundle.load(old).class_names
    found = json.loads((tmp_path / "smoke-2/side-by-side.json").read_text())
    splits = json.loads((tmp_path / "smoke-2/splits.json").read_text())
    assert found["old"]["pictures"] == found["new"]["pictures"] == len(splits["test"])
    assert "smoke 1" in (printed := capsys.readouterr().out)
    assert f"{len(splits['test'])} test images" in printed
    shutil.copytree(data, tmp_path / "fewer")
    shutil.rmtree(tmp_path / "fewer/MT_Crack")
    kept = [
        line for line in (data / "groups.csv").read_text().splitlines() if not line.startswith("MT_Crack")
    ]
    (tmp_path / "fewer/groups.csv").write_text("\n".join(kept) + "\n")
    arguments[0] = tmp_path / "fewer"
    assert main(["from-history", *map(str, arguments)]) == 2
    assert "no image of crack" in capsys.readouterr().err

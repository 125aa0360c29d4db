"""A cross-fitted run: every image predicted by a network that has not seen its part, every figure nested."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from app.inspection.bundle.bundle import Bundle
from training.__main__ import main
from training.config import ConfigError, RunConfig, SplitConfig
from training.config_files import load_config, settle
from training.data.layouts.magnetic_tile import read_magnetic_tile, write_generated
from training.data.registry import LAYOUTS
from training.data.sample import Dataset, Sample
from training.data.splits import Fold, make_splits, part_of
from training.evaluation import gate as gate_figures
from training.evaluation.compared import compare_samples
from training.labels import LabelsConfig
from training.pipeline import go
from training.run import Run
from training.steps import evaluate as evaluate_step
from training.steps import export as export_step
from training.steps.artifacts import unseen_by
from training.steps.evaluate import called_by, nested
from training.steps.fit import initial_segmenter
from training.steps.split import SplitRun, split
from training.thresholds import operating_point as thresholds
from training.thresholds.learn import learn_artifact

SMOKE = Path("training/configs/smoke.yaml")
FOLDS = 3
CONFIG = "cross-fitted.yaml"


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    root = tmp_path_factory.mktemp("tiles")
    write_generated(root, count=48, seed=11)
    return list(read_magnetic_tile(root).samples)


def count_reads(patch: pytest.MonkeyPatch) -> list[Path]:
    """The root of every set of magnetic tiles that is read from now on."""
    layout, reads = LAYOUTS["magnetic-tile"], list[Path]()

    def counted(root: Path, labels: LabelsConfig) -> Dataset:
        reads.append(root)
        return layout.read(root, labels)

    patch.setitem(LAYOUTS, "magnetic-tile", replace(layout, read=counted))
    return reads


def test_a_set_is_read_once_for_a_run_and_its_folds_and_no_other_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = tmp_path / "parts", tmp_path / "others"
    for seed, root in enumerate(roots):
        write_generated(root, count=48, seed=seed)
    config = RunConfig(stage="small", name="parts", split=SplitConfig(folds=FOLDS))
    run = Run(config, roots[0], tmp_path / "run", tmp_path / "models", "passline train run")
    reads = count_reads(monkeypatch)
    go(run, "split")
    assert reads == [roots[0]]
    assert len(list(run.directory.glob("folds/*/splits.json"))) == FOLDS
    fitted = run.directory / "folds/repeat-0-fold-1/fit/weights.safetensors"
    fitted.parent.mkdir()
    fitted.write_bytes(b"weights")
    with pytest.raises(ConfigError, match="could have been trained on"):
        go(replace(run, data=roots[1]), "split")


def test_a_cross_fitted_run_has_no_part_to_measure_on(samples: list[Sample], tmp_path: Path) -> None:
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps({"train": [each.name for each in samples]}))
    dataset = Dataset(("blowhole",), samples)
    for part in ("calibration", "test"):
        with pytest.raises(ConfigError, match="trained on all its images"):
            part_of(dataset, splits, part)
    assert len(part_of(dataset, splits, "train").samples) == len(samples)


@pytest.mark.parametrize("by", ["group", "picture"])
def test_folds_hold_every_image_once_and_no_group_twice(samples: list[Sample], by: str) -> None:
    config = SplitConfig.model_validate({"by": by, "folds": FOLDS})
    tested: Counter[str] = Counter()
    for number in range(FOLDS):
        splits = make_splits(samples, config, Fold(number, FOLDS))
        assert set(splits) == {"train", "test"}
        assert len(splits["train"]) + len(splits["test"]) == len(samples)
        if by == "group":
            groups = [{each.group for each in splits[name]} for name in ("train", "test")]
            assert not groups[0] & groups[1]
        tested.update(each.name for each in splits["test"])
    assert tested == Counter({each.name: 1 for each in samples})
    assert make_splits(samples, config).keys() == {"train"}
    assert len(make_splits(samples, config)["train"]) == len(samples)


def test_folds_and_a_published_test_split_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="set only one"):
        SplitConfig(folds=5, test="published")


@pytest.fixture(scope="module")
def reads() -> list[Path]:
    """The roots that the run of `trained` has read."""
    return []


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, reads: list[Path]) -> SplitRun:
    """A run of `passline train run`, with a network that has hardly been trained."""
    directory = tmp_path_factory.mktemp("run")
    data, models = directory / "parts", directory / "models"
    data.mkdir()
    write_generated(data, count=48, seed=11)
    text = yaml.safe_load(SMOKE.read_text())
    del text["small"]["transplants"]
    text["small"] |= {"split": {"by": "group", "folds": FOLDS}, "artifacts": ["fp32", "fp16"]}
    text["small"]["fit"] |= {"steps": 6, "validate_every": 6}
    config_file = directory / CONFIG
    config_file.write_text(yaml.safe_dump(text))
    arguments = ["--config", config_file, "--data", data, "--runs", directory, "--models", models]
    with pytest.MonkeyPatch.context() as patch:
        # masks of a network that knows hardly anything would be noise, each of thousands of regions
        patch.setattr(thresholds, "PIXEL_THRESHOLDS", (0.5,))
        patch.setattr(export_step, "PARITY_IMAGES", 4)
        patch.setattr(evaluate_step, "GENERATED_TEST_IMAGES", 4)
        patch.setattr(gate_figures, "IMAGES", 5)
        counted = count_reads(patch)
        assert main(["run", *map(str, arguments)]) == 0
        reads += counted
    config = settle(load_config(directory / CONFIG), "small", "parts", None)
    return split(Run(config, data, directory / "smoke-1", models, "passline train run"))


@pytest.mark.slow
def test_a_whole_run_reads_its_set_once(trained: SplitRun, reads: list[Path]) -> None:
    assert reads == [trained.data]


@pytest.mark.slow
def test_figures_are_of_all_images_and_thresholds_of_the_other_folds(
    trained: SplitRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thresholds, "PIXEL_THRESHOLDS", (0.5,))
    figures = json.loads((trained.models / "smoke/1/evaluation.json").read_text())
    assert figures["test"]["pictures"] == 48
    assert sum(each["pictures"] for each in figures["by_fold"]) == 48
    bundle = Bundle.load(trained.bundle)
    for artifact in bundle.artifacts:
        assert artifact.operating_point.expected is not None
        assert artifact.operating_point.expected.split == "out-of-fold"
        assert artifact.operating_point.expected.defective + artifact.operating_point.expected.good == 48
    parts = [unseen for _, unseen in unseen_by(trained)]
    for number, part in enumerate(nested(trained, bundle.artifacts[0])):
        learnt = learn_artifact(parts[:number] + parts[number + 1 :], trained.config.operating_point)
        assert part.inspector.session.artifact.operating_point == learnt.point
        compared = compare_samples(part.inspector, part.samples)
        assert called_by([part]) == [each.called_defective for each in compared]


@pytest.mark.slow
def test_each_fold_predicts_what_its_network_has_not_seen(trained: SplitRun) -> None:
    for part in trained.folds:
        listing = json.loads((part.directory / "splits.json").read_text())
        kept = sum(1 for _ in (part.directory / "predictions").rglob("*.npz"))
        assert kept == len(listing["test"]) * 2  # by fp32 and by fp16
        assert part.weights.read_bytes() != trained.weights.read_bytes()
    assert len(json.loads((trained.directory / "splits.json").read_text())["train"]) == 48


@pytest.mark.slow
def test_each_fold_of_the_next_run_goes_on_from_the_same_fold(trained: SplitRun, tmp_path: Path) -> None:
    start = trained.models / "smoke/1"
    run = Run(trained.config, trained.data, tmp_path, trained.models, "passline train run", start=start)
    for before, fold in zip(trained.folds, split(run).folds, strict=True):
        assert fold.start_weights == start / "folds" / fold.directory.name / "weights.safetensors"
        found = initial_segmenter(fold, fold.classes).state_dict()
        for name, value in load_file(before.weights).items():
            torch.testing.assert_close(found[name], value, rtol=2e-3, atol=1e-6)
    shutil.rmtree(tmp_path / "folds")
    shutil.copytree(start, tmp_path / "start", ignore=shutil.ignore_patterns("folds"))
    with pytest.raises(ConfigError, match="thresholds and figures would be too good"):
        split(replace(run, directory=tmp_path / "other", start=tmp_path / "start"))


@pytest.mark.slow
def test_card_says_how_the_figures_came_about(trained: SplitRun) -> None:
    card = (trained.models / "smoke/1/MODEL_CARD.md").read_text()
    assert "out of 3 folds" in card
    assert "fitted on all images" in " ".join(card.split())
    assert "\n| 3 | " in card
    certainty = json.loads((trained.models / "smoke/1/evaluation.json").read_text())["certainty"]
    assert " ".join(certainty.split()) in " ".join(card.split())
    assert "24 defective parts" in certainty

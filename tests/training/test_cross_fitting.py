"""A cross-fitted run: every image predicted by a network that has not seen its part, every figure nested."""

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from app.inspection.bundle.bundle import Bundle
from training.__main__ import main
from training.config import SplitConfig, load_config, settle
from training.data.layouts.magnetic_tile import read_magnetic_tile, write_generated
from training.data.sample import Sample
from training.data.splits import Fold, make_splits
from training.evaluation import gate as gate_figures
from training.run import Run
from training.steps import evaluate as evaluate_step
from training.steps import export as export_step
from training.steps.evaluate import nested
from training.steps.unseen import fold_runs, unseen_by
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
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
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
        patch.setattr(export_step, "PARITY_PICTURES", 4)
        patch.setattr(evaluate_step, "GENERATED_TEST_PICTURES", 4)
        patch.setattr(gate_figures, "PICTURES", 5)
        assert main(["run", *map(str, arguments)]) == 0
    config = settle(load_config(directory / CONFIG), "small", "parts", None)
    return Run(config, data, directory / "smoke-1", models, "passline train run")


@pytest.mark.slow
def test_figures_are_of_all_images_and_thresholds_of_the_other_folds(
    trained: Run, monkeypatch: pytest.MonkeyPatch
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
    for number, (inspector, _) in enumerate(nested(trained, bundle.artifacts[0])):
        learnt = learn_artifact(parts[:number] + parts[number + 1 :], trained.config.operating_point)
        assert inspector.session.artifact.operating_point == learnt.point


@pytest.mark.slow
def test_each_fold_predicts_what_its_network_has_not_seen(trained: Run) -> None:
    for part in fold_runs(trained):
        listing = json.loads((part.directory / "splits.json").read_text())
        kept = sum(1 for _ in (part.directory / "predictions").rglob("*.npz"))
        assert kept == len(listing["test"]) * 2  # by fp32 and by fp16
        assert part.weights.read_bytes() != trained.weights.read_bytes()
    assert len(json.loads((trained.directory / "splits.json").read_text())["train"]) == 48


@pytest.mark.slow
def test_card_says_how_the_figures_came_about(trained: Run) -> None:
    card = (trained.models / "smoke/1/MODEL_CARD.md").read_text()
    assert "out of 3 folds" in card
    assert "fitted on all images" in " ".join(card.split())
    assert "\n| 3 | " in card
    certainty = json.loads((trained.models / "smoke/1/evaluation.json").read_text())["certainty"]
    assert " ".join(certainty.split()) in " ".join(card.split())
    assert "24 defective parts" in certainty

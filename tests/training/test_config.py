"""Configurations are refused with the field and what it may be."""

from pathlib import Path

import pytest

from training.config import Config, ConfigError, FitConfig, LossConfig, ModelConfig, StageConfig
from training.config_files import inherited, labels_of, load_config, settle
from training.labels import LabelsConfig
from training.run import made_with, placeless

CONFIGS = sorted(Path("training/configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_load(path: Path) -> None:
    config = load_config(path)
    for stage in ("large", "small"):
        if getattr(config, stage) is not None:
            assert settle(config, stage, "parts", None).stage == stage


def test_small_stage_takes_over_what_it_leaves_unset() -> None:
    config = Config(
        seed=2,
        model=ModelConfig(tile=256, overlap=64, dropout=0.3),
        large=StageConfig(name="first", fit=FitConfig(batch_size=8, steps=900)),
        small=StageConfig(fit=FitConfig(steps=300)),
    )
    large = settle(config, "large", "surfaces", None)
    other = Config(model=ModelConfig(tile=320), small=config.small)
    for file, tile, dropout in ((config, 256, 0.3), (other, 320, 0.3)):
        small = settle(file, "small", "parts", large)
        assert (small.name, small.fit.steps, small.fit.batch_size) == ("parts", 300, 8)
        assert (small.model.tile, small.model.dropout) == (tile, dropout)
        told = inherited(file, small, large)
        assert "stage small takes from first 1" in told
        assert "batch_size 8" in told.partition("; sets itself")[0]
        assert told.endswith("sets itself: steps 300")


def test_model_whose_weights_would_not_fit_is_refused() -> None:
    config = Config(large=StageConfig(name="first"), small=StageConfig())
    large = settle(config, "large", "surfaces", None)
    same = Config(model=ModelConfig(encoder="efficientnet-lite0"), small=StageConfig())
    assert settle(same, "small", "parts", large).model == large.model
    other = Config(model=ModelConfig(encoder="resnet18"), small=StageConfig())
    with pytest.raises(ConfigError, match="encoder is resnet18, but first 1"):
        settle(other, "small", "parts", large)


def test_another_decoder_may_begin_anew() -> None:
    config = Config(large=StageConfig(name="first"), small=StageConfig())
    large = settle(config, "large", "surfaces", None)
    other = Config(model=ModelConfig(decoder="separable"), small=StageConfig())
    small = settle(other, "small", "parts", large)
    assert small.model == large.model.model_copy(update={"decoder": "separable"})
    assert "separable decoder of 256, 128" in inherited(other, small, large)


def test_small_stage_goes_on_with_the_loss_but_never_from_scratch() -> None:
    before = FitConfig(strategy="scratch", loss=LossConfig(kind="focal", focal_gamma=3))
    config = Config(
        large=StageConfig(name="first", fit=before),
        small=StageConfig(fit=FitConfig(loss=LossConfig(agreement=0.1))),
    )
    small = settle(config, "small", "parts", settle(config, "large", "surfaces", None))
    assert small.fit.loss == LossConfig(kind="focal", focal_gamma=3, agreement=0.1)
    assert small.fit.strategy == "full"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("small: {}\nlearning: 3", "learning: Extra inputs are not permitted"),
        ("small: {fit: {steps: 0}}", r"small\.fit\.steps: Input should be greater than or equal to 1"),
        ("small: {split: {train: 0.9}}", "train .* test must be 1"),
        ("small: {split: {test: published}}", r"train \+ validation \+ calibration must be 1"),
        ("small: {}\nmodel: {tile: 100}", "multiple of 32"),
        ("small: {}\nmodel: {tile: 128, overlap: 65}", "at most half of tile"),
        ("small: {fit: {steps: 5}}", "validate_every must be at most steps"),
        (
            "small: {generated: {kind: cats}}",
            r"generated\.kind: Input should be 'tiles' or 'surfaces'",
        ),
        ("small: {version: '..'}", "version: String should match pattern"),
        ("small: {}\nmodel: {encoder: resnet1}", r"model\.encoder: .*resnet1"),
        ("small: {}\nmodel: {decoder_channels: [8, 8, 8, 8, 8, 8]}", "at most 5 items"),
        ("small: {}\nmodel: {decoder_channels: []}", "at least 1 item"),
        ("small: {}\nseed: -1", "seed: Input should be greater than or equal to 0"),
        ("small: {split: {seed: -1}}", r"split\.seed: Input should be greater than or equal to 0"),
        (f"small: {{name: {'a' * 65}}}", "name: String should match pattern"),
        (f"small: {{version: {'a' * 65}}}", "version: String should match pattern"),
        ("seed: 1", "name at least one stage, large or small"),
        ("name: [", "is not YAML"),
        ("seed: 2024-13-01", "is not YAML"),
        (f"seed: {'1' * 5000}", "is not YAML"),
        ("[" * 3000, "nested deeper than 32 levels"),
        ("small: &a {}\nlarge: *a", "the anchor &a is not allowed"),
        ("small: {}\nseed: !!int 1", "the tag !!int is not allowed"),
        ("small: {fit: {learning_rate: .inf}}", r"learning_rate: Input should be a finite number"),
        ("small: {fit: {learning_rate: .nan}}", r"learning_rate: Input should be"),
        ("", "file: Input should be a valid dictionary"),
    ],
)
def test_bad_configuration_is_explained(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_what_only_both_stages_together_get_wrong_is_explained() -> None:
    config = Config(
        large=StageConfig(name="first", fit=FitConfig(steps=900, validate_every=300)),
        small=StageConfig(fit=FitConfig(steps=200, validate_every=100)),
    )
    large = settle(config, "large", "surfaces", None)
    few = Config.model_validate({"small": {"fit": {"steps": 200}}})
    with pytest.raises(
        ConfigError, match=r"stage small, with what it takes from first 1: fit: .*at most steps"
    ):
        settle(few, "small", "parts", large)
    with pytest.raises(ConfigError, match="must be a multiple of devices, 3"):
        settle(Config(devices=3, small=StageConfig()), "small", "parts", None)


def test_a_file_of_weights_is_known_by_its_name_where_a_bundle_is_gone_on_from() -> None:
    config = Config(model=ModelConfig(weights="/home/me/own.pth"), small=StageConfig())
    published = placeless(settle(config, "small", "parts", None))
    assert "/home" not in made_with(published)
    assert settle(config, "small", "parts", published).model.weights == "own.pth"


def test_labels_may_stand_alone_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.yaml"
    path.write_text("labels: {mask_threshold: 128}\n")
    assert labels_of(path) == LabelsConfig(mask_threshold=128)
    path.write_text("small: {version: '1', labels: {unlisted: good}}\n")
    assert labels_of(path) == LabelsConfig(unlisted="good")


def test_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.yaml")


def test_file_that_is_no_text_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"name: \xff")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load_config(path)

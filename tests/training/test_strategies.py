"""Strategies: which tensors a step changes, at which rate, and that a resumed fit goes on the same."""

import warnings
from pathlib import Path
from typing import get_args

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from training.config import ConfigError, FitConfig, ModelConfig, StrategyName
from training.data.datamodule import Batch
from training.model.finetune import EXPECTED_WARNINGS
from training.model.lightning_module import FineTuning
from training.model.segmenter import Segmenter, build_segmenter
from training.model.strategies import STRATEGIES, TrainingPlan, encoder_levels, frozen_levels, starting_model

MODEL = ModelConfig(
    encoder="resnet18", weights="none", decoder_channels=(16, 16, 8, 8, 8), tile=64, overlap=16, dropout=0
)
State = dict[str, torch.Tensor]


def _settings(strategy: StrategyName, steps: int = 10) -> FitConfig:
    return FitConfig(
        strategy=strategy, steps=steps, batch_size=2, validate_every=steps, weight_decay=0.1, warmup_share=0.5
    )


def _train(
    segmenter: Segmenter,
    settings: FitConfig,
    until: int,
    resume: Path | None = None,
    save: Path | None = None,
) -> State:
    """Train until that step on noise, and return what is then in the network."""
    noise = torch.Generator().manual_seed(1)
    batches = [
        {
            "pixels": torch.randint(0, 256, (64, 64), generator=noise, dtype=torch.uint8),
            "class_bits": torch.randint(0, 4, (64, 64), generator=noise, dtype=torch.int32),
            "mask_known": torch.tensor(True),
            "defective": torch.tensor(float(number % 2)),
        }
        for number in range(2)
    ]
    trainer = L.Trainer(
        max_steps=until,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings():
        for message in (*EXPECTED_WARNINGS, "You defined a `validation_step` but"):
            warnings.filterwarnings("ignore", message)
        loader: DataLoader[Batch] = DataLoader(batches, batch_size=2)  # type: ignore[arg-type]  # a list will do
        trainer.fit(FineTuning(segmenter, settings), loader, ckpt_path=resume, weights_only=False)
        if save is not None:
            trainer.save_checkpoint(save)
    return {name: value.clone() for name, value in segmenter.state_dict().items()}


def _changed(before: State, after: State) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def _in_encoder(names: set[str]) -> set[str]:
    return {name.removeprefix("unet.encoder.") for name in names if name.startswith("unet.encoder.")}


def _step(strategy: StrategyName, steps: int = 1) -> tuple[Segmenter, set[str]]:
    """Train for so many steps of ten, and return what changed."""
    segmenter = build_segmenter(MODEL, 2, 1)
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    return segmenter, _changed(before, _train(segmenter, _settings(strategy), steps))


@pytest.mark.parametrize("strategy", ["full", "layerwise", "scratch"])
def test_every_tensor_is_trained(strategy: StrategyName) -> None:
    segmenter, changed = _step(strategy)
    assert changed == set(segmenter.state_dict())


def test_frozen_encoder_keeps_weights_and_statistics() -> None:
    segmenter, changed = _step("decoder")
    assert changed == {name for name in segmenter.state_dict() if not name.startswith("unet.encoder.")}


def test_gradual_starts_with_the_decoder_alone() -> None:
    segmenter, changed = _step("gradual")  # of ten steps, five to unfreeze five levels
    assert changed == {name for name in segmenter.state_dict() if not name.startswith("unet.encoder.")}


def test_gradual_goes_on_with_the_deepest_level() -> None:
    _, changed = _step("gradual", 3)
    owners = {name.split(".")[0] for name in _in_encoder(changed)}
    assert owners == {"layer3", "layer4"}
    assert "layer4.0.bn1.running_mean" in _in_encoder(changed)


def test_gradual_ends_with_all() -> None:
    segmenter, changed = _step("gradual", 6)
    assert changed == set(segmenter.state_dict())


@pytest.mark.slow
def test_resumed_gradual_fit_ends_like_the_whole_one(tmp_path: Path) -> None:
    settings = _settings("gradual")
    whole = _train(build_segmenter(MODEL, 2, 1), settings, 5)
    _train(build_segmenter(MODEL, 2, 1), settings, 2, save=tmp_path / "cut.ckpt")
    resumed = _train(build_segmenter(MODEL, 2, 9), settings, 5, resume=tmp_path / "cut.ckpt")
    assert _changed(whole, resumed) == set()


def test_gradual_schedule() -> None:
    settings = _settings("gradual", 100).model_copy(update={"unfreeze_share": 0.5})
    assert [frozen_levels(settings, 5, step) for step in (0, 9, 10, 25, 49, 50, 99)] == [5, 5, 4, 3, 1, 0, 0]
    assert frozen_levels(_settings("decoder"), 5, 99) == 5
    assert frozen_levels(_settings("full"), 5, 0) == 0


@pytest.mark.parametrize(("steps", "warmup_share"), [(1, 0.1), (2, 0.5), (10, 0.1), (10, 0.3), (20, 0.05)])
def test_warm_up_of_a_step_or_less_trains_on(steps: int, warmup_share: float) -> None:
    settings = _settings("decoder", steps).model_copy(update={"warmup_share": warmup_share})
    segmenter = build_segmenter(MODEL, 2, 1)
    assert all(bool(torch.isfinite(value).all()) for value in _train(segmenter, settings, steps).values())


def test_layerwise_rates_fall_towards_the_input() -> None:
    segmenter = build_segmenter(MODEL, 2, 1)
    settings = _settings("layerwise").model_copy(update={"learning_rate": 1e-3, "layer_decay": 0.5})
    groups = TrainingPlan(segmenter, settings).parameter_groups(segmenter)
    rate_of = {id(each): group["lr"] for group in groups for each in group["params"]}
    rates = {name: rate_of[id(each)] for name, each in segmenter.named_parameters()}
    assert rates["image_head.1.weight"] == rates["unet.segmentation_head.0.weight"] == 1e-3
    assert rates["unet.encoder.layer4.0.conv1.weight"] == pytest.approx(1e-3 / 2)
    assert rates["unet.encoder.layer1.1.bn2.bias"] == pytest.approx(1e-3 / 16)
    assert rates["unet.encoder.conv1.weight"] == pytest.approx(1e-3 / 32)


@pytest.mark.parametrize(
    ("encoder", "first_of_level"),
    [
        ("resnet18", ["conv1", "layer1", "layer2", "layer3", "layer4"]),
        ("vgg16_bn", ["features.0", "features.7", "features.14", "features.24", "features.34"]),
        ("efficientnet-b0", ["_conv_stem", "_blocks.0", "_blocks.3", "_blocks.5", "_blocks.9"]),
        (
            "tu-tf_efficientnet_lite0",
            ["model.conv_stem", "model.blocks.1", "model.blocks.2", "model.blocks.3", "model.blocks.5"],
        ),
        (
            "tu-mobilenetv3_small_100",
            ["model.conv_stem", "model.blocks.0", "model.blocks.1", "model.blocks.2", "model.blocks.4"],
        ),
    ],
)
def test_levels_of_any_encoder(encoder: str, first_of_level: list[str]) -> None:
    network = Segmenter(MODEL.model_copy(update={"encoder": encoder}), 2).unet.encoder
    levels = encoder_levels(network)
    for level, start in zip(levels, first_of_level, strict=True):
        assert level[0].startswith(f"{start}.")
    found = [name for level in levels for name in level]
    unused = set(dict(network.named_parameters())) - set(found)
    assert len(found) == len(set(found))
    assert {name.split(".")[0] for name in unused} <= {"_conv_head", "_bn1"}  # EfficientNet's classifier
    assert not any(each.is_meta for each in network.state_dict().values())


def test_what_gets_no_gradient_asks_for_none() -> None:
    segmenter = Segmenter(MODEL.model_copy(update={"encoder": "efficientnet-b0"}), 2)
    plan = TrainingPlan(segmenter, _settings("full"))
    for output in segmenter(torch.zeros(2, 64, 64, dtype=torch.uint8)):
        output.sum().backward(retain_graph=True)
    asking = {name for name, each in segmenter.named_parameters() if each.requires_grad}
    assert asking == {name for name, each in segmenter.named_parameters() if each.grad is not None}
    assert sum(len(group["params"]) for group in plan.parameter_groups(segmenter)) == len(asking)


def test_scratch_takes_no_weights() -> None:
    model = ModelConfig()
    assert starting_model(model, "scratch").weights == "none"
    assert starting_model(model, "full") is model


def test_a_strategy_without_mask_is_no_fit() -> None:
    with pytest.raises(ConfigError, match="svm trains no mask"):
        TrainingPlan(build_segmenter(MODEL, 2, 1), _settings("svm"))


def test_every_name_is_a_strategy() -> None:
    assert set(STRATEGIES) == set(get_args(StrategyName))

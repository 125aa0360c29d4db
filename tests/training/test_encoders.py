"""Encoders: names, licences, weights from packages and files, and that every one builds and exports."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn

from app.inspection.bundle.graph import check_graph
from training.bundle.export import OPSET, check_parity, export_graph
from training.config import ConfigError, ModelConfig
from training.encoders import ALIASES, canonical, check_licence, input_statistics, licence
from training.model.pretrained import load_pretrained
from training.model.segmenter import Segmenter, build_segmenter

NAMES = [
    *(f"efficientnet-lite{n}" for n in range(3)),
    *("resnet18", "resnet34", "resnet50"),
    *("mobilenetv3-small", "mobilenetv3-large", "vgg16", "vgg16_bn"),
    *(f"efficientnet-b{n}" for n in range(8)),
]


def _model(encoder: str) -> ModelConfig:
    return ModelConfig(
        encoder=encoder, weights="none", decoder_channels=(16, 16, 8, 8, 8), tile=64, overlap=16
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_encoder_builds_and_gives_logits(name: str) -> None:
    with torch.device("meta"):  # shapes alone: nothing is computed
        segmenter = Segmenter(_model(name), 3)
        mask, image = segmenter(torch.zeros(2, 64, 96, dtype=torch.uint8))
    assert mask.shape == (2, 3, 64, 96)
    assert image.shape == (2,)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "decoder"),  # the other encoders have no operator more
    [("efficientnet-b0", "full"), ("mobilenetv3-large", "separable")],
)
def test_exports_and_answers_like_torch(name: str, decoder: str, tmp_path: Path) -> None:
    segmenter = build_segmenter(_model(name).model_copy(update={"decoder": decoder}), 2, 1)
    save_file(segmenter.state_dict(), tmp_path / "weights.safetensors")
    graph = export_graph(segmenter, tmp_path / "weights.safetensors", 64, tmp_path / "model.onnx")
    check_graph((tmp_path / "model.onnx").read_bytes(), name)  # as the service does at load
    tiles = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 1), dtype=np.uint8)
    check_parity(graph, tmp_path / "model.onnx", tiles)
    model = onnx.load(tmp_path / "model.onnx")
    assert [each.version for each in model.opset_import if not each.domain] == [OPSET]
    assert "Resize" in (kinds := {node.op_type for node in model.graph.node})
    assert "Shape" not in kinds  # no GPU runs those


@pytest.mark.slow
@pytest.mark.parametrize("flips", [2, 4])
def test_a_graph_of_flips_averages_their_answers(flips: int, tmp_path: Path) -> None:
    model = _model("efficientnet-b0").model_copy(update={"flips": flips})
    segmenter = build_segmenter(model, 2, 1)
    save_file(segmenter.state_dict(), tmp_path / "weights.safetensors")
    graph = export_graph(segmenter, tmp_path / "weights.safetensors", 64, tmp_path / "model.onnx", gate=True)
    tiles = np.random.default_rng(1).integers(0, 256, (3, 64, 64, 1), dtype=np.uint8)
    check_parity(graph, tmp_path / "model.onnx", tiles)
    session = ort.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    levels, image, features = session.run(graph.outputs, {"pixels": tiles})
    segmenter.flips = 1
    with torch.inference_mode():
        turned = [tiles, tiles[:, :, ::-1], tiles[:, ::-1], tiles[:, ::-1, ::-1]][:flips]
        one = [[each.numpy() for each in graph(torch.from_numpy(turn.copy()))] for turn in turned]
    masks = [one[0][0], *(each[..., ::-1] for (each, *_) in one[1:2])]
    if flips == 4:
        masks += [one[2][0][:, :, ::-1], one[3][0][..., ::-1, ::-1]]
    assert np.abs(levels - np.mean(masks, axis=0)).max() <= 1.5  # two roundings
    np.testing.assert_allclose(image, np.mean([each[1] for each in one], axis=0), atol=1e-3)
    np.testing.assert_allclose(features, one[0][2], rtol=1e-2, atol=1e-3)


def test_everyday_names() -> None:
    assert ModelConfig(encoder="efficientnet-lite0").encoder == "tu-tf_efficientnet_lite0"
    assert canonical("resnet18") == "resnet18"
    assert all(canonical(name) == target for name, target in ALIASES.items())


@pytest.mark.parametrize("name", ["resnet19", "tu-resnet19", "tu-resnet18.no_such_weights"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"unknown encoder {name}; use an encoder of"):
        canonical(name)


@pytest.mark.parametrize("name", [*NAMES, "efficientnet-lite4", "tu-vgg16_bn", "densenet121"])
def test_required_encoders_have_free_weights(name: str) -> None:
    check_licence(canonical(name))


@pytest.mark.parametrize(
    ("name", "stated"),
    [
        ("mit_b0", "nvidia-source-code-license (non-commercial)"),
        ("mobileone_s0", "mobileone-license"),
        ("tu-mobileone_s0", "mobileone-license"),
        ("tu-convnextv2_tiny", "cc-by-nc-4.0"),
        ("tu-convnext_tiny.dinov3_lvd1689m", "dinov3-license"),
        ("tu-resnet18.fb_swsl_ig1b_ft_in1k", "cc-by-nc-4.0"),
        ("tu-resnet18.fb_ssl_yfcc100m_ft_in1k", "cc-by-nc-4.0"),
        ("tu-gcvit_tiny", "cc-by-nc-sa-4.0"),
        ("tu-res2net50_26w_4s", "unknown"),  # timm itself says so
        ("senet154", "unknown"),  # in neither table
    ],
)
def test_other_weights_are_refused_unless_told_otherwise(name: str, stated: str) -> None:
    assert licence(name) == stated
    with pytest.raises(ValidationError, match="set allow_noncommercial_weights: true"):
        ModelConfig(encoder=name)
    assert ModelConfig(encoder=name, allow_noncommercial_weights=True).encoder == name
    assert ModelConfig(encoder=name, weights="none").encoder == name
    assert ModelConfig(encoder=name, weights="mine.pth").encoder == name


def test_input_is_what_the_weights_expect() -> None:
    assert input_statistics("tu-tf_efficientnet_lite0") == (0.5, 0.5)
    assert input_statistics("resnet18") == pytest.approx((0.449, 0.226))
    network = Segmenter(_model("resnet18"), 1)
    normalised = network.features(torch.tensor([[[0, 255] * 32] * 64], dtype=torch.uint8))[0]
    assert normalised.flatten()[:2].tolist() == pytest.approx([-0.449 / 0.226, 0.551 / 0.226])


@pytest.mark.parametrize("number", range(3))
def test_packaged_weights_fit_their_encoder(number: int) -> None:
    name = canonical(f"efficientnet-lite{number}")
    network = Segmenter(_model(name), 1).unet.encoder
    before = {key: value.clone() for key, value in network.state_dict().items()}
    load_pretrained(network, name, "imagenet")
    same = [key for key, value in network.state_dict().items() if torch.equal(before[key], value)]
    assert all(key.endswith("num_batches_tracked") for key in same)


class _Tiny(nn.Module):
    """A grey encoder of two tensors beside what batch norm holds."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)


def _theirs(prefix: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    return {prefix + key: value for key, value in _Tiny(3).state_dict().items()} | {"fc.bias": torch.ones(9)}


@pytest.mark.parametrize("prefix", ["", "encoder.", "module.", "unet.encoder."])
def test_file_is_mapped_by_name_and_its_colours_summed(prefix: str, tmp_path: Path) -> None:
    theirs, ours = _theirs(prefix), _Tiny()
    save_file(theirs, tmp_path / "w.safetensors")
    torch.save({"state_dict": theirs, "epoch": 3}, tmp_path / "w.pth")
    for file in ("w.safetensors", "w.pth"):
        ours = _Tiny()
        load_pretrained(ours, "tiny", str(tmp_path / file))
        assert torch.equal(ours.conv.weight, theirs[f"{prefix}conv.weight"].sum(1, keepdim=True))


def test_file_of_a_port_is_mapped_by_order(tmp_path: Path) -> None:
    ported = {f"renamed{n}": value for n, value in enumerate(_theirs("").values())}
    del ported["renamed5"]  # batch norm's counter, which ports drop
    ours = _Tiny()
    torch.save(ported, tmp_path / "w.pth")
    load_pretrained(ours, "tiny", str(tmp_path / "w.pth"))
    assert torch.equal(ours.conv.weight, ported["renamed0"].sum(1, keepdim=True))
    save_file(ported, tmp_path / "w.safetensors")  # which sorts its tensors
    with pytest.raises(ConfigError, match=r"w.safetensors lacks conv.weight and 4 more"):
        load_pretrained(ours, "tiny", str(tmp_path / "w.safetensors"))


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    with pytest.raises(ConfigError, match=r"w.pth cannot be read"):
        load_pretrained(_Tiny(), "tiny", str(path))
    path.write_bytes(b"no tensors")
    with pytest.raises(ConfigError, match=r"w.pth are no file of tensors"):
        load_pretrained(_Tiny(), "tiny", str(path))
    torch.save([1, 2], path)
    with pytest.raises(ConfigError, match="hold no tensors by name"):
        load_pretrained(_Tiny(), "tiny", str(path))
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(ConfigError, match="has 1 tensors, but the encoder needs 5"):
        load_pretrained(_Tiny(), "tiny", str(path))
    torch.save(_theirs("") | {"norm.bias": torch.zeros(7)}, path)
    with pytest.raises(ConfigError, match=r"norm.bias is \(4,\), its weights \(7,\)"):
        load_pretrained(_Tiny(), "tiny", str(path))


def test_without_the_hub_the_ways_out_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name in ("resnet18", "tu-mobilenetv3_small_100"):
        with pytest.raises(ConfigError, match=f"weights of {name} cannot be downloaded .*weights: none"):
            load_pretrained(Segmenter(_model(name), 1).unet.encoder, name, "imagenet")
    with pytest.raises(ConfigError, match="no ImageNet weights for resnext101_32x4d"):
        load_pretrained(Segmenter(_model("resnext101_32x4d"), 1).unet.encoder, "resnext101_32x4d", "imagenet")

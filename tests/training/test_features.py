"""Frozen features and the support vector machine on them."""

import numpy as np
import pytest
import torch

from training.config import ModelConfig
from training.data.datamodule import input_contract
from training.data.sample import DatasetError, Pixels
from training.model.segmenter import Segmenter, build_segmenter
from training.studies.features import encoder_features, fit_svm, image_figures

MODEL = ModelConfig(
    encoder="resnet18", weights="none", decoder_channels=(16, 16, 8, 8, 8), tile=64, overlap=16
)
CONTRACT = input_contract(MODEL)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return build_segmenter(MODEL, 1, 1)


def _parts(count: int, seed: int) -> tuple[list[Pixels], list[bool], list[str]]:
    """Two shots of each part that hardly differ; every other part has a bright scratch."""
    generator = np.random.default_rng(seed)
    pictures, defective, groups = [], [], []
    for part in range(count):
        surface = generator.normal(110, 12, (64, 64))
        if part % 2:
            surface[generator.integers(10, 50) :, generator.integers(5, 58)] += 90
        for _ in range(2):
            pixels = surface + generator.normal(0, 1, (64, 64))
            pictures.append(np.clip(pixels, 0, 255).astype(np.uint8))
            defective.append(bool(part % 2))
            groups.append(f"part{part}")
    return pictures, defective, groups


def test_machine_finds_defects_on_parts_never_seen(segmenter: Segmenter) -> None:
    machine = fit_svm(segmenter, CONTRACT, *_parts(24, seed=1))
    unseen, truth, _ = _parts(12, seed=2)
    probability = machine.probability(iter(unseen))
    assert probability.shape == (24,)
    assert 0 <= probability.min() < probability.max() <= 1
    figures = image_figures(truth, probability)
    assert figures.auroc > 0.9
    assert figures.recall > 0.8


def test_calibration_keeps_the_shots_of_a_part_together(segmenter: Segmenter) -> None:
    pictures, _, groups = _parts(24, seed=1)
    by_lot = np.random.default_rng(5).permutation(
        [False, True] * 12
    )  # there is nothing to learn but by heart
    defective = [bool(by_lot[number // 2]) for number in range(48)]
    shots = [str(number) for number in range(48)]
    by_part, by_shot = (
        np.abs(fit_svm(segmenter, CONTRACT, pictures, defective, names).probability(pictures) - 0.5).max()
        for names in (groups, shots)
    )
    assert by_part < 0.4 < by_shot


def test_features_are_the_same_however_the_picture_is_cut(segmenter: Segmenter) -> None:
    picture = _parts(2, seed=1)[0][3]
    alone = encoder_features(segmenter, CONTRACT, [picture])
    twice = encoder_features(segmenter, CONTRACT, [np.hstack([picture] * 2), picture])
    channels = segmenter.unet.encoder.out_channels[1:]
    assert alone.shape == (1, 2 * sum(channels))
    np.testing.assert_allclose(twice[1], alone[0], rtol=1e-4, atol=1e-5)
    maxima = slice(sum(channels), None)
    assert (twice[0, maxima] >= alone[0, maxima] - 1e-4).all()  # its tiles hold the image


def test_features_leave_the_network_as_it_was(segmenter: Segmenter) -> None:
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    encoder_features(segmenter, CONTRACT, _parts(4, seed=1)[0])
    assert all(torch.equal(before[name], value) for name, value in segmenter.state_dict().items())


def test_too_few_groups_are_refused(segmenter: Segmenter) -> None:
    pictures, defective, _ = _parts(4, seed=1)
    with pytest.raises(DatasetError, match="not 1 and 2"):
        fit_svm(segmenter, CONTRACT, pictures, defective, ["a"] * 2 + ["b"] * 2 + ["a"] * 2 + ["c"] * 2)


def test_figures() -> None:
    truth = [True, True, False, False]
    figures = image_figures(truth, np.array([0.9, 0.4, 0.6, 0.1]))
    assert (figures.accuracy, figures.precision, figures.recall, figures.auroc) == (0.5, 0.5, 0.5, 0.75)
    assert image_figures(truth, np.zeros(4)).precision == 0
    with pytest.raises(DatasetError, match="need good and defective"):
        image_figures([True, True], np.ones(2))

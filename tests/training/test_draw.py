"""How often each image is drawn for training."""

import pytest

from training.config import FitConfig, GeneratedConfig, RunConfig
from training.data.datamodule import draw_weights
from training.data.pictures import GOOD

STRATA = [GOOD, GOOD, GOOD, 1, 1, 2, *[GOOD] * 6, *[1] * 2]  # the last eight are generated


def _weights(generated: GeneratedConfig | None) -> list[float]:
    fit = FitConfig(defective_share=0.6)
    return draw_weights(STRATA, RunConfig(stage="small", name="parts", fit=fit, generated=generated))


def test_classes_are_drawn_alike_and_defective_images_in_their_share() -> None:
    weights = _weights(None)
    assert sum(weights) == pytest.approx(1)
    assert sum(w for w, stratum in zip(weights, STRATA, strict=True) if stratum != GOOD) == pytest.approx(0.6)
    by_class = [sum(w for w, s in zip(weights, STRATA, strict=True) if s == k) for k in (1, 2)]
    assert by_class[0] == pytest.approx(by_class[1])


def test_generated_images_are_drawn_in_their_share_however_many_there_are() -> None:
    weights = _weights(GeneratedConfig(kind="surfaces", pictures=8, drawn_share=0.1))
    assert sum(weights[-8:]) == pytest.approx(0.1)
    for part, strata in ((weights[:-8], STRATA[:-8]), (weights[-8:], STRATA[-8:])):
        defective = sum(w for w, stratum in zip(part, strata, strict=True) if stratum != GOOD)
        assert defective / sum(part) == pytest.approx(0.6)


def test_without_a_share_they_count_by_their_number() -> None:
    assert _weights(GeneratedConfig(kind="surfaces", pictures=8)) == _weights(None)

"""The region model: which numbers it takes, and what it makes of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from app.inspection.bundle.bundle import Bundle
from app.inspection.bundle.region_model import REGION_FEATURES, RegionModel
from app.inspection.errors import BundleInvalid
from tests.tiny_bundle import write_tiny_bundle


def test_probability_by_hand() -> None:
    model = RegionModel(weights={"log_area": 2.0, "head_logit": -1.0}, bias=0.5)
    features = np.zeros((2, len(REGION_FEATURES)))
    features[1, REGION_FEATURES.index("log_area")] = 1.5
    features[1, REGION_FEATURES.index("head_logit")] = 0.25
    features[:, REGION_FEATURES.index("contrast")] = 99  # has no weight
    expected = [1 / (1 + np.exp(-logit)) for logit in (0.5, 0.5 + 3 - 0.25)]
    assert model.probability(features) == pytest.approx(expected)
    assert model.probability(features[:0]).shape == (0,)


@pytest.mark.parametrize("sign", [1, -1])
def test_extreme_weights_give_a_probability(sign: int) -> None:
    model = RegionModel(weights=dict.fromkeys(REGION_FEATURES, sign * 1e6), bias=sign * 1e6)
    (found,) = model.probability(np.full((1, len(REGION_FEATURES)), 64.0))
    assert found == pytest.approx((1 + sign) / 2)
    assert 0 <= found <= 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"weights": {}}, "weights must name at least one of mean_logit, peak_probability"),
        ({"weights": {"log_area": float("nan")}}, "finite"),
        ({"weights": {"log_area": float("-inf")}}, "finite|greater"),
        ({"weights": {"log_area": 1e308}}, "less than or equal to 1000000"),
        ({"weights": {"colour": 1.0}}, r"weights\.colour"),
        ({"bias": float("nan")}, "finite"),
        ({"bias": -1e9}, "greater than or equal to -1000000"),
        ({"regions": -1}, "regions"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_wrong_model_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        RegionModel.model_validate({"weights": {"log_area": 1.0}, "bias": 0.0} | change)


@pytest.mark.parametrize("missing", ["regions", "head_threshold", "image_threshold"])
def test_bundle_without_a_part_of_its_operating_point_is_refused(tmp_path: Path, missing: str) -> None:
    manifest = json.loads((write_tiny_bundle(tmp_path) / "bundle.json").read_text())
    del manifest["artifacts"][0]["operating_point"][missing]
    (tmp_path / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleInvalid, match=f"{missing}: Field required"):
        Bundle.load(tmp_path)


def test_bundle_with_a_weight_that_is_no_number_is_refused(tmp_path: Path) -> None:
    manifest = json.loads((write_tiny_bundle(tmp_path) / "bundle.json").read_text())
    manifest["artifacts"][0]["operating_point"]["regions"]["weights"]["contrast"] = float("nan")
    (tmp_path / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleInvalid, match="contrast"):
        Bundle.load(tmp_path)

"""Publishing: what must be there, what is refused, what the card says."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from app.inspection.bundle.bundle import Bundle
from app.inspection.errors import SelfTestFailed
from app.inspection.inspector import Inspector
from tests.tiny_bundle import write_tiny_bundle
from training.bundle.golden import add_golden
from training.bundle.publish import (
    COMPARISON,
    COMPARISON_CROSS_VALIDATION,
    CROSS_VALIDATION,
    PublishError,
    check_folds,
    publish_bundle,
    set_beside,
)
from training.config import ConfigError, FitConfig, GeneratedConfig, RunConfig, SplitConfig
from training.data.generators import make_generator
from training.data.synthesis.tiles import CLASSES
from training.evaluation.document import document_of
from training.evaluation.figures import summarise
from training.run import CONFIG, made_with

from .test_evaluate import ROWS, compared_pairs

PARITY = {"tiles": 3, "max_mask_level_difference": 1, "max_image_probability_difference": 1e-6}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    directory = write_tiny_bundle(tmp_path / "bundle")
    bundle = Bundle.load(directory)
    test = summarise(ROWS, 0.95) | {"by_part": None}
    document = document_of("train it", bundle, bundle.artifacts[0], test, 0.95)
    document |= {"split": SplitConfig().model_dump(), "generated": test, "parity": PARITY}
    (directory / "evaluation.json").write_text(json.dumps(document))
    return directory


def test_published_bundle_stands_alone_with_its_card(bundle: Path, tmp_path: Path) -> None:
    target = publish_bundle(bundle, tmp_path / "models", replace=False)
    assert target == tmp_path / "models/tiny/1"
    Inspector.load(target, device="cpu").self_test()
    card = (target / "MODEL_CARD.md").read_text()
    assert "| unseen parts (split by group) | 8 (4) | 0.625 [" in card
    assert "Escape rate 0.250 [" in card
    assert "split by image" not in card


def test_card_says_how_good_the_estimated_dice_is(bundle: Path, tmp_path: Path) -> None:
    figures = json.loads((bundle / "evaluation.json").read_text())
    rows = [
        replace(row, dice_interval=(0.3, 0.7)) for row in compared_pairs([0.9, 0.5, 0.1], [0.6, 0.9, 0.3])
    ]
    figures["test"] = summarise(rows + ROWS, 0.95) | {"by_part": None}
    new = (
        "Rank correlation: 0.50. Area under the risk-coverage curve: 0.350 (best order 0.250, random order "
        "0.400). The interval around it contains the measured Dice of 0.667 [0.094, 0.992] of the images, "
        "0.667 as the mean of 3 parts; its mean width is 0.40."
    )
    estimate = figures["test"]["estimated_dice"]
    for name, given, says in (
        ("stated", estimate, new),
        ("none", estimate | {"interval": None}, "random order 0.400). There is no interval around it."),
    ):
        figures["test"]["estimated_dice"] = given
        (bundle / "evaluation.json").write_text(json.dumps(figures))
        card = (publish_bundle(bundle, tmp_path / name, replace=False) / "MODEL_CARD.md").read_text()
        assert says in " ".join(card.split())


def test_comparison_is_shown_as_what_it_is(bundle: Path, tmp_path: Path) -> None:
    (bundle / "evaluation-by-picture.json").write_text((bundle / "evaluation.json").read_text())
    card = (publish_bundle(bundle, tmp_path / "models", replace=False) / "MODEL_CARD.md").read_text()
    assert "split by image, another model" in card
    assert "the figures are too good" in " ".join(card.split())


def test_folds_are_shown_with_what_they_are(bundle: Path, tmp_path: Path) -> None:
    found = {"value": 0.8, "interval": [0.7, 0.9], "folds": 5}
    mean = dict.fromkeys(("accuracy", "precision", "recall", "auroc"), found) | {"dice": None}
    folds = {"folds": 5, "repeats": 1, "confidence": 0.95, "split": {"by": "group"}, "mean": mean}
    leaking = folds | {"split": {"by": "picture"}}
    for name, figures in ((CROSS_VALIDATION, folds), (COMPARISON_CROSS_VALIDATION, leaking)):
        (tmp_path / name).write_text(json.dumps(figures))
        set_beside(bundle, name, tmp_path / name)
    card = (publish_bundle(bundle, tmp_path / "models", replace=False) / "MODEL_CARD.md").read_text()
    assert "| 5 folds by group | 0.800 [0.700, 0.900] |" in card
    assert "[0.700, 0.900] | - |" in card
    assert card.index("5 folds by group") < card.index("| 5 folds by image | 0.800 [0.700, 0.900] |")


def test_folds_of_other_settings_are_refused(tmp_path: Path) -> None:
    config = RunConfig(stage="small", name="parts")
    with pytest.raises(ConfigError, match="--cross-validation takes the folder"):
        check_folds(tmp_path, config)
    (tmp_path / CROSS_VALIDATION).write_text("{}")
    (tmp_path / CONFIG).write_text(made_with(config))
    moved = config.model_copy(update={"split": SplitConfig(seed=9), "version": "7"})
    assert check_folds(tmp_path, moved) == tmp_path / CROSS_VALIDATION
    for changed, name in (
        ({"fit": FitConfig(steps=7, validate_every=7)}, "fit"),
        ({"split": SplitConfig(by="picture")}, "split"),
    ):
        with pytest.raises(ConfigError, match=f"another {name}"):
            check_folds(tmp_path, config.model_copy(update=changed))


def test_published_version_is_not_overwritten_by_accident(bundle: Path, tmp_path: Path) -> None:
    publish_bundle(bundle, tmp_path / "models", replace=False)
    with pytest.raises(PublishError, match="raise the version"):
        publish_bundle(bundle, tmp_path / "models", replace=False)
    publish_bundle(bundle, tmp_path / "models", replace=True)
    assert [path.name for path in (tmp_path / "models/tiny").iterdir()] == ["1"]


def test_bundle_without_figures_or_right_answers_is_refused(bundle: Path, tmp_path: Path) -> None:
    manifest = json.loads((bundle / "bundle.json").read_text())
    manifest["golden"][0]["verdict"] = "pass"
    (bundle / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(SelfTestFailed, match="verdict fail, not pass"):
        publish_bundle(bundle, tmp_path / "models", replace=False)
    (bundle / "evaluation.json").unlink()
    with pytest.raises(PublishError, match="no evaluation"):
        publish_bundle(bundle, tmp_path / "models", replace=False)
    assert not (tmp_path / "models").exists()


@pytest.mark.slow
def test_model_that_is_wrong_on_generated_tiles_gets_no_golden_samples(bundle: Path) -> None:
    with pytest.raises(PublishError, match="not fit"):
        add_golden(bundle, make_generator(CLASSES, GeneratedConfig(kind="tiles")), ())


def test_published_version_stays_until_the_new_one_is_in(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = publish_bundle(bundle, tmp_path / "models", replace=False)
    whole = Path.rename

    def killed(path: Path, new: Path) -> Path:
        if path.name.endswith(".partial"):
            raise KeyboardInterrupt
        return whole(path, new)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            publish_bundle(bundle, tmp_path / "models", replace=True)
    assert (target.with_name(".1.old") / "bundle.json").exists()
    publish_bundle(bundle, tmp_path / "models", replace=False)
    assert [path.name for path in (tmp_path / "models/tiny").iterdir()] == ["1"]


def test_comparison_of_an_earlier_publication_is_taken_out(bundle: Path) -> None:
    (bundle / "evaluation-by-picture.json").write_text("{}")
    set_beside(bundle, COMPARISON, None)
    assert not (bundle / "evaluation-by-picture.json").exists()

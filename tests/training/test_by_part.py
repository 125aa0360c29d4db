"""The figures by part, counted by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.inspection.bundle.bundle import Bundle
from app.inspection.inspector import Inspector
from app.inspection.results import Verdict
from app.inspection.rules.part_model import PartModel
from tests.tiny_bundle import write_tiny_bundle
from training.bundle.publish import model_card
from training.evaluation.by_part import part_figures
from training.evaluation.compared import Compared
from training.evaluation.dataset import evaluate_parts
from training.sessions import inspector_of
from training.statistics import interval
from training.steps.evaluate import with_measured_parts

from .labelled import tiny_dataset

MODEL = PartModel(mean_logit=1.0, max_logit=0.0, bias=0.0, part_threshold=0.5)  # half on average


def image(group: str, defective: bool, verdict: Verdict, probability: float) -> Compared:
    return Compared(
        name=group,
        group=group,
        picture_class="crack" if defective else "good",
        defective=defective,
        verdict=verdict,
        image_probability=probability,
        dice=None,
        class_dice={},
        defect_px=0,
    )


# Part: worst, joint.
PARTS = [
    *(image("a", True, "fail", 0.9), image("a", True, "pass", 0.4)),  # fail, fail
    *(image("b", False, "fail", 0.6), image("b", False, "pass", 0.1)),  # fail, review
    *(image("c", False, "pass", 0.2), image("c", False, "pass", 0.2)),  # pass, pass
    *(image("d", True, "pass", 0.4), image("d", False, "review", 0.2)),  # review, review
    *(image("e", True, "pass", 0.1), image("e", True, "pass", 0.2)),  # pass, pass: an escape
    image("alone", True, "pass", 0.1),  # one image: no part of several images
]


def figures(model: PartModel | None = MODEL) -> dict[str, Any]:
    found = part_figures(PARTS, [model] * len(PARTS), 0.95)
    assert found is not None
    return found


def test_parts_are_groups_of_several_images() -> None:
    found = figures()
    assert {key: found[key] for key in ("parts", "defective", "good", "images")} == {
        "parts": 5,
        "defective": 3,
        "good": 2,
        "images": 10,
    }
    assert part_figures(PARTS[-1:], [MODEL], 0.95) is None
    assert part_figures([], [], 0.95) is None


def test_rates_of_both_rules() -> None:
    found = figures()
    assert found["worst"]["verdicts"] == {
        "good": {"pass": 1, "fail": 1, "review": 0},
        "defective": {"pass": 1, "fail": 1, "review": 1},
    }
    assert found["joint"]["verdicts"] == {
        "good": {"pass": 1, "fail": 0, "review": 1},
        "defective": {"pass": 1, "fail": 1, "review": 1},
    }
    counts = {
        (rule, called): {
            key: (each["count"], each["of"]) for key, each in found[rule][called].items() if each
        }
        for rule in ("worst", "joint")
        for called in ("fail_or_review", "fail")
    }
    stopped = {"accuracy": (3, 5), "precision": (2, 3), "recall": (2, 3)}
    stopped |= {"escape_rate": (1, 3), "overkill_rate": (1, 2)}
    assert counts["worst", "fail_or_review"] == counts["joint", "fail_or_review"] == stopped
    failed = {"accuracy": (2, 5), "precision": (1, 2), "recall": (1, 3)}
    assert counts["worst", "fail"] == failed | {"escape_rate": (2, 3), "overkill_rate": (1, 2)}
    failed = {"accuracy": (3, 5), "precision": (1, 1), "recall": (1, 3)}
    assert counts["joint", "fail"] == failed | {"escape_rate": (2, 3), "overkill_rate": (0, 2)}
    assert found["worst"]["fail"]["recall"]["interval"] == pytest.approx(interval(1, 3, 0.95), abs=1e-4)


def test_without_a_part_model_everywhere_there_is_no_joint_rule() -> None:
    assert figures(None)["joint"] is None
    mixed = part_figures(PARTS, [MODEL] * 4 + [None] * (len(PARTS) - 4), 0.95)
    assert mixed is not None
    assert mixed["joint"] is None
    assert mixed["worst"] == figures()["worst"]


def test_each_part_is_judged_by_the_model_that_its_images_were_inspected_with() -> None:
    strict = MODEL.model_copy(update={"part_threshold": 0.05})
    found = part_figures(PARTS, [strict] * 2 + [MODEL] * 6 + [strict] * 3, 0.95)
    assert found is not None
    assert found["joint"]["verdicts"]["defective"] == {"pass": 0, "fail": 2, "review": 1}


def card_with(by_part: dict[str, Any]) -> str:
    """The large stage's card, as if its figures by part were these."""
    bundle = Bundle.load(Path("models/surface-large/4"))
    document = json.loads((bundle.directory / "evaluation.json").read_text())
    document["test"]["by_part"] = by_part
    return model_card(bundle, document, None, [])


def test_the_model_card_shows_both_rules() -> None:
    card = card_with(figures())
    assert "5 parts with two or more images" in card.replace("\n", " ")
    lines = [line for line in card.splitlines() if line.startswith("| `")]
    assert len(lines) == 4
    assert lines[3].startswith("| `joint` | `fail` alone | 0.600 [")
    assert "`joint`" not in card_with(figures(None))


@pytest.mark.parametrize(("found", "kept"), [(figures(), True), (figures(None), False), (None, False)])
def test_a_part_model_without_figures_is_not_shipped(
    tmp_path: Path, found: dict[str, Any] | None, kept: bool
) -> None:
    bundle = Bundle.load(write_tiny_bundle(tmp_path / "tiny"))
    point = bundle.artifacts[0].operating_point.model_copy(update={"parts": MODEL})
    artifact = bundle.artifacts[0].model_copy(update={"operating_point": point})
    bundle = with_measured_parts(bundle.model_copy(update={"artifacts": (artifact,)}), {"by_part": found})
    assert (bundle.artifacts[0].operating_point.parts == MODEL) is kept


def test_an_evaluation_has_them_by_each_operating_point(tmp_path: Path) -> None:
    inspector = Inspector.load(write_tiny_bundle(tmp_path / "tiny"), device="cpu")
    artifact = inspector.session.artifact
    point = artifact.operating_point.model_copy(update={"parts": MODEL})
    with_model = inspector_of(inspector.bundle, artifact.model_copy(update={"operating_point": point}))
    samples = [
        replace(each, group=group)
        for each, group in zip(tiny_dataset(tmp_path).samples, ("bad", "bad", "good", "good"), strict=True)
    ]
    found = evaluate_parts([(with_model, samples)], ("dark", "bright")).figures["by_part"]
    assert found["worst"]["verdicts"]["defective"] == {"pass": 0, "fail": 1, "review": 0}
    assert found["joint"]["verdicts"]["good"]["pass"] == 0  # a false alarm is never passed silently
    found = evaluate_parts([(with_model, samples[:2]), (inspector, samples[2:])], ("dark", "bright")).figures
    assert (found["by_part"]["parts"], found["by_part"]["joint"]) == (2, None)
    json.dumps(found["by_part"])

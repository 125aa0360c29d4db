"""A bundle evaluated on a labelled set: evaluation.json and the page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.inspection.bundle.bundle import Bundle
from app.inspection.cancellation import NEVER, Cancellation
from app.inspection.inference.session import Answers, OnnxSession
from app.inspection.inspector import Inspector
from tests.tiny_bundle import write_tiny_bundle
from training.data.sample import Dataset, DatasetError, Pixels
from training.evaluation.compared import inspect_with_prediction
from training.evaluation.dataset import evaluate_dataset
from training.evaluation.gallery import FOUND, MARKED, galleries
from training.evaluation.report import evaluation_page
from training.evaluation.run import EvaluateOptions, evaluate_bundle

from .labelled import labelled, tiny_dataset


class CountedSession(OnnxSession):
    """Tells how many tiles each run had."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, "cpu")
        self.runs: list[int] = []

    def run(self, tiles: Pixels, cancellation: Cancellation = NEVER) -> Answers:
        self.runs.append(len(tiles))
        return super().run(tiles, cancellation)


def test_one_run_of_the_graph_a_picture(tmp_path: Path) -> None:
    bundle = Bundle.load(write_tiny_bundle(tmp_path / "tiny"))
    session = CountedSession(bundle)
    evaluation = evaluate_dataset(Inspector(bundle, session), tiny_dataset(tmp_path))
    assert len(session.runs) == len(evaluation.compared) == 4


def test_figures_of_a_set_by_hand(tmp_path: Path) -> None:
    inspector = Inspector.load(write_tiny_bundle(tmp_path / "tiny"), device="cpu")
    figures = evaluate_dataset(inspector, tiny_dataset(tmp_path)).figures
    assert figures["dice"]["pooled"] == pytest.approx(2 * 200 / (200 + 144 + 200 + 64), abs=1e-4)
    assert figures["dice"]["per_class"]["dark"]["of_its_class"] == 0.5
    pixels = figures["pixels"]
    assert (pixels["defect_px"], pixels["regions"]) == (344, 2)
    # of both kinds one image shows the dark box and one shows nothing: ties all round
    assert (figures["auroc"], figures["average_precision"]) == (0.5, 0.5)
    assert figures["curves"]["image_threshold"]["escape_rate"] == [0.5, 0.0]
    assert figures["curves"]["image_threshold"]["overkill_rate"] == [0.5, 1.0]
    # half of the two images with a region of level 235 are defective, and half of the two without a region
    of_region = 1 / (1 + np.exp(-(10 * 235 / 255 - 5)))
    gap = abs(of_region - 0.5) / 2 + abs(0 - 0.5) / 2
    assert figures["image_reliability"]["ece"] == pytest.approx(gap, abs=1e-4)


def test_the_worst_pictures_are_shown_with_both_contours(tmp_path: Path) -> None:
    inspector = Inspector.load(write_tiny_bundle(tmp_path / "tiny"), device="cpu")
    dataset = tiny_dataset(tmp_path)
    shown = galleries(inspector, dataset, evaluate_dataset(inspector, dataset).compared)
    assert {name: [each.caption.split(":")[0] for each in row] for name, row in shown.items()} == {
        "escapes": ["escaped"],
        "false alarms": ["alarm"],
        "worst masks": ["found"],
    }
    escaped, alarm = shown["escapes"][0].pixels, shown["false alarms"][0].pixels
    assert tuple(escaped[5, 10]) == MARKED
    assert not np.all(escaped == FOUND, axis=2).any()
    assert tuple(alarm[40, 44]) == FOUND
    assert not np.all(alarm == MARKED, axis=2).any()


def test_files_hold_everything(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny")
    dataset = tiny_dataset(tmp_path)
    other = Dataset(("spot", "bright"), dataset.samples)
    options = EvaluateOptions("the command", changes=2, others={"other <set>": other}, interval_repeats=2)
    document = evaluate_bundle(bundle, dataset, tmp_path / "out", options)
    assert json.loads((tmp_path / "out/evaluation.json").read_text()) == document
    page = (tmp_path / "out/evaluation.html").read_text()
    for text in (
        "the command",
        "Worst slices",
        "AUPRO",
        "Risk and coverage",
        "for 4 halves; 4 of them had too few",
        "motion blur",
        "other &lt;set&gt;",
        "<svg",
        "escaped: dark",
    ):
        assert text in page
    assert page.count("<img ") == 3
    assert "http" not in page.replace("http://www.w3.org/", "").replace("http://purl.org/", "").replace(
        "http://creativecommons.org/", ""
    ).replace("https://matplotlib.org/", "")


def test_a_page_without_pictures_of_the_set(tmp_path: Path) -> None:
    options = EvaluateOptions("command", pictures=False)
    good = Dataset(("dark",), [labelled(tmp_path, "a"), labelled(tmp_path, "b")])
    document = evaluate_bundle(write_tiny_bundle(tmp_path / "tiny"), good, tmp_path / "out", options)
    assert document["test"]["curves"] == {"region_overlap": None}
    assert "<img " not in (tmp_path / "out/evaluation.html").read_text()


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no image"):
        evaluate_bundle(
            write_tiny_bundle(tmp_path / "t"), Dataset(("dark",), []), tmp_path, EvaluateOptions("c")
        )


def test_what_is_shown_is_what_the_service_answers(tmp_path: Path) -> None:
    inspector = Inspector.load(write_tiny_bundle(tmp_path / "tiny"), device="cpu")
    sample = tiny_dataset(tmp_path).samples[0]
    seen, answered = (
        inspect_with_prediction(inspector, sample),
        inspector.inspect(sample.image.read()),
    )
    np.testing.assert_array_equal(seen.inspection.label_map, answered.label_map)
    np.testing.assert_array_equal(seen.prediction.probability, inspector.predict(seen.pixels).probability)


def test_parity_and_artifacts_are_shown_with_what_was_refused(tmp_path: Path) -> None:
    options = EvaluateOptions("command", pictures=False)
    bundle = write_tiny_bundle(tmp_path / "tiny")
    document = evaluate_bundle(bundle, tiny_dataset(tmp_path), tmp_path / "out", options)
    row: dict[str, Any] = {"max_mask_level_difference": 17, "max_image_probability_difference": 0.0123}
    row |= {"mask_iou": {"mean": 0.98, "min": 0.875}, "dice_per_defective_picture": 0.5}
    fp16 = row | {"verdict_flips": 3, "new_escapes": 0}
    parity = {"pictures": 4, "tiles": 16, "dice_per_defective_picture": 0.5, "artifacts": {"fp16": fp16}}
    ratio = {"CPUExecutionProvider": 0.7}
    tried = {"layers_in_float": ["head"], "time_of_fp32": ratio, "dice": 0.4, "dice_loss": 0.1}
    trial = {"accepted": False, "refused_because": "it loses 0.1", "tries": [tried]}
    artifacts = {"tried": {"int8": trial}, "in_bundle": {"fp32": {"reason": "the reference"}}}
    document |= {"parity": {"test": parity}, "artifacts": artifacts}
    page = evaluation_page(document)
    for text in (
        "(16 tiles)",
        ">17<",
        ">0.012<",
        ">0.875<",
        "CPUExecutionProvider 0.70",
        "fp32: the reference",
    ):
        assert text in page
    assert "int8 is not in the bundle: it loses 0.1." in page

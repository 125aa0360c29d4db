"""The shipped bundle: its parts are there, it judges its samples over HTTP, its card is not by hand."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.inspection.bundle.bundle import Bundle
from app.main import create_app
from app.settings import Settings
from tests.local_client import LocalClient
from tests.markdown import ROOT
from training.bundle.publish import card_of
from training.data.synthesis.tiles import CLASSES
from training.evaluation.document import Document
from training.evaluation.report import evaluation_page
from training.files import EVALUATION

BUNDLE = ROOT / "models/magnetic-tile/6"
LARGE_STAGE = ROOT / "models/surface-large/4"
MOST_BYTES = 25_000_000  # of the graph: it is committed, and every clone carries every version


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with LocalClient(create_app(Settings(bundle_dir=BUNDLE, device="cpu"))) as client:
        yield client


@pytest.mark.parametrize(
    "file", ["bundle.json", "model.onnx", "recipe.yaml", "evaluation.json", "MODEL_CARD.md"]
)
def test_part_is_there(file: str) -> None:
    assert 0 < (BUNDLE / file).stat().st_size < MOST_BYTES


def test_golden_samples_show_the_classes_and_good() -> None:
    bundle = Bundle.load(BUNDLE)
    assert bundle.class_names == CLASSES
    verdicts = {Path(sample.image).stem: sample.verdict for sample in bundle.golden}
    expected = dict.fromkeys(CLASSES, "fail") | {"good": "pass", "good-2": "pass"}
    assert verdicts == expected


@pytest.mark.parametrize(
    ("name", "verdict", "classes"), [("break", "fail", {"break"}), ("good", "pass", set())]
)
def test_sample_is_judged_rightly(client: TestClient, name: str, verdict: str, classes: set[str]) -> None:
    response = client.post("/v1/inspections", files={"image": (BUNDLE / f"golden/{name}.png").read_bytes()})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["verdict"] == verdict
    assert {defect["defect_class"] for defect in answer["defects"]} >= classes


@pytest.mark.parametrize("bundle", [BUNDLE, LARGE_STAGE], ids=lambda path: str(path.parent.name))
def test_model_card_is_as_the_figures_say(bundle: Path) -> None:
    assert (bundle / "MODEL_CARD.md").read_text(encoding="utf-8") == card_of(bundle)


@pytest.mark.parametrize("bundle", [BUNDLE, LARGE_STAGE], ids=lambda path: str(path.parent.name))
def test_evaluation_has_the_shape_of_today(bundle: Path) -> None:
    read: Document = json.loads((bundle / EVALUATION).read_text(encoding="utf-8"))
    of_a_run = {"split", "by_fold", "probability_calibration", "parity"}
    assert Document.__required_keys__ | of_a_run <= read.keys()
    assert read.keys() <= Document.__required_keys__ | Document.__optional_keys__
    assert f"Evaluation of {read['bundle']['name']}" in evaluation_page(read)

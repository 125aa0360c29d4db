"""The published large stage on real images, over HTTP: the published figures are what the service answers.

Its test split is the publishers' own, which no fit has seen; the network of a cross-fitted bundle has seen
all images of its set. Runs only where the root of the large set is given, by PASSLINE_DATA or
`make test PYTEST_ARGS="--data ROOT tests/test_real_images.py"`.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.local_client import LocalClient
from training.config import SplitConfig
from training.data.registry import read_dataset
from training.data.sample import Sample
from training.data.splits import make_splits

BUNDLE = Path("models/surface-large/4")


@pytest.fixture
def unseen_images(request: pytest.FixtureRequest) -> list[Sample]:
    root = request.config.getoption("--data")
    if root is None:
        pytest.skip("no data root; give --data ROOT or set PASSLINE_DATA")
    split = json.loads((BUNDLE / "evaluation.json").read_text())["split"]
    dataset = read_dataset(Path(str(root)))
    return make_splits(dataset.samples, SplitConfig.model_validate(split))["test"]


@pytest.fixture
def client() -> Iterator[TestClient]:
    with LocalClient(create_app(Settings(bundle_dir=BUNDLE, device="cpu"))) as client:
        yield client


def test_service_reproduces_the_published_figures(client: TestClient, unseen_images: list[Sample]) -> None:
    verdicts: dict[bool, list[str]] = {True: [], False: []}
    for sample in unseen_images:
        answer = client.post(
            "/v1/inspections?mask=none",
            content=sample.image.read(),
            headers={"Content-Type": "image/jpeg"},
        )
        assert answer.status_code == 200, answer.text
        verdicts[sample.defective].append(answer.json()["verdict"])
    published = json.loads((BUNDLE / "evaluation.json").read_text())["test"]["verdicts"]
    found = {
        name: {verdict: rows.count(verdict) for verdict in ("pass", "fail", "review")}
        for name, rows in (("good", verdicts[False]), ("defective", verdicts[True]))
    }
    # An image whose head stands right at the threshold may fall to either side on another processor.
    for kind, counts in published.items():
        assert sum(abs(found[kind][verdict] - count) for verdict, count in counts.items()) <= 2

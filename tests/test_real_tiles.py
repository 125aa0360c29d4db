"""The shipped bundle on real tiles, over HTTP: the published figures are what the service answers.

Runs only where a data root is given, by PASSLINE_DATA or
`make test PYTEST_ARGS="--data ROOT tests/test_real_tiles.py"`.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from training.config import SplitConfig
from training.datasets.magnetic_tile import read_magnetic_tile
from training.datasets.sample import Sample
from training.splits import make_splits

BUNDLE = Path("models/magnetic-tile/5")


@pytest.fixture
def unseen_tiles(request: pytest.FixtureRequest) -> list[Sample]:
    root = request.config.getoption("--data")
    if root is None:
        pytest.skip("no data root; give --data ROOT or set PASSLINE_DATA")
    split = json.loads((BUNDLE / "evaluation.json").read_text())["split"]
    return make_splits(read_magnetic_tile(Path(str(root))).samples, SplitConfig.model_validate(split))["test"]


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(create_app(Settings(bundle_dir=BUNDLE, device="cpu"))) as client:
        yield client


def test_service_reproduces_the_published_figures(client: TestClient, unseen_tiles: list[Sample]) -> None:
    verdicts: dict[bool, list[str]] = {True: [], False: []}
    for sample in unseen_tiles:
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
    # A picture whose head stands right at the threshold may fall to either side on another processor.
    for kind, counts in published.items():
        assert sum(abs(found[kind][verdict] - count) for verdict, count in counts.items()) <= 2

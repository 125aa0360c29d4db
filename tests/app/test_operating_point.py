"""The trade-off over HTTP: it is shown, recipes move along it, and what it cannot keep stops the service."""

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.trade_offs import trade_off, write_bundle_with_trade_off

MakeClient = Callable[..., TestClient]


@pytest.fixture(scope="module")
def movable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle_with_trade_off(tmp_path_factory.mktemp("movable"))


def test_recipe_moves_the_threshold(
    make_client: MakeClient, movable: Path, tmp_path: Path, dark: bytes
) -> None:
    text = "name: few-false-alarms\noperating_point: {max_overkill: 0.1}\n"
    (tmp_path / "few.yaml").write_text(text)
    client = make_client(bundle_dir=movable, recipes_dir=tmp_path)
    assert client.get("/v1/model").json()["operating_point"]["trade_off"] == trade_off()
    own = client.post("/v1/inspections", files={"image": dark}).json()
    moved = client.post("/v1/inspections?recipe=few-false-alarms", files={"image": dark}).json()
    assert (own["image_threshold"], moved["image_threshold"]) == (0.5, 0.8)


def test_recipe_that_the_bundle_cannot_keep_stops_the_service_where_it_is_in_force(
    make_client: MakeClient, movable: Path, tmp_path: Path
) -> None:
    (tmp_path / "dream.yaml").write_text("name: dream\noperating_point: {max_escape: 0.001}\n")
    client = make_client(bundle_dir=movable, recipes_dir=tmp_path, default_recipe="dream")
    problem = client.get("/readyz").json()
    assert problem["cause"]["code"] == "recipe_invalid"
    says = "recipe 'dream': dream.yaml: line 2: operating_point.max_escape: 0.001 is not proven"
    assert says in problem["cause"]["detail"]

"""Alert rules and the dashboard name what the service exports, and compose starts them without a network."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from app.main import create_app
from app.settings import Settings
from tests.local_client import LocalClient
from tests.markdown import ROOT
from tests.promql import labels_in, metrics_in
from tests.tiny_bundle import png, tiny_picture, write_tiny_bundle

ALERTS = yaml.safe_load((ROOT / "docker/alerts.yml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
GRAFANA = ROOT / "docker/grafana"
BOARD = json.loads((GRAFANA / "dashboards/passline.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
OF_PROMETHEUS = {"instance", "job"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Every series of a service that has judged, stopped and refused images, with its labels."""
    place = tmp_path_factory.mktemp("watched")
    bundle = write_tiny_bundle(place / "tiny", gate=True)
    settings = Settings(bundle_dir=bundle, recipes_dir=place, threads=1, drift_window=1)
    with LocalClient(create_app(settings)) as client:
        for picture in (tiny_picture(96, 80, dark=(20, 30, 12, 9), grain=16), tiny_picture(96, 80)):
            client.post("/v1/inspections?camera_id=top", files={"image": png(picture)})
        client.put("/v1/activations", json={"default": "tiny"})
        text = client.get("/metrics").text
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Where each expression stands, and itself."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in BOARD["templating"]["list"]:
        query = variable["query"]["query"]
        metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", query).groups()  # type: ignore[union-attr]
        yield variable["name"], f"sum by ({label}) ({metric})"


@pytest.mark.parametrize(("place", "expression"), [*expressions()])
def test_what_is_watched_is_exported(place: str, expression: str, exported: dict[str, set[str]]) -> None:
    names = metrics_in(expression)
    assert names, place
    assert names <= exported.keys(), f"{place} watches {names - exported.keys()}, which is not there"
    known = set[str]().union(*(exported[name] for name in names)) | OF_PROMETHEUS
    assert labels_in(expression) <= known, f"{place} asks for {labels_in(expression) - known}"
    assert expression.count("(") == expression.count(")")


def test_the_names_in_an_expression_are_found() -> None:
    expression = (
        'sum by (camera) (rate(a_total{camera=~"$x", code!="b_total"}[5m] offset 1d)) > 500e6'
        " / on (job) group_left c_places unless d:e"
    )
    assert metrics_in(expression) == {"a_total", "c_places", "d:e"}
    assert labels_in(expression) == {"camera", "code", "job"}


def test_each_alert_tells_what_it_means_and_how_bad_it_is() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}


def test_the_docs_tell_of_each_alert() -> None:
    told = "".join((ROOT / "docs" / page).read_text() for page in ("deployment.md", "gate.md"))
    assert all(f"`{rule['alert']}`" in told for rule in RULES)


def test_each_kind_of_trouble_has_its_alert() -> None:
    watched = set[str]().union(*(metrics_in(rule["expr"]) for rule in RULES))
    assert watched >= {
        *("passline_ready", "passline_errors_total", "passline_queue_waiting", "passline_queue_running"),
        *("passline_step_seconds_bucket", "passline_gate_psi", "passline_gate_stopped_total"),
        *("process_resident_memory_bytes", "process_open_fds", "passline_disk_free_bytes"),
        *("passline_camera_defective_total", "passline_log_lines_lost"),
    }
    codes = " ".join(rule["expr"] for rule in RULES if "code=" in rule["expr"])
    assert all(code in codes for code in ("overloaded", "deadline_exceeded", "inference_failed"))


def test_a_code_that_an_alert_waits_for_is_there_from_the_start(exported: dict[str, set[str]]) -> None:
    """A series that begins with 1 has not increased, so the first problem would go unseen."""
    with LocalClient(create_app(Settings(bundle_dir=Path("nowhere")))) as client:
        text = client.get("/metrics").text
    for code in ("overloaded", "deadline_exceeded", "inference_failed", "internal_error"):
        assert f'passline_errors_total{{code="{code}"}} 0.0' in text


def test_panels_have_ids_titles_and_places_of_their_own() -> None:
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert len({panel["title"] for panel in BOARD["panels"]}) == len(ids)
    taken = set[tuple[int, int]]()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = set(
            itertools.product(
                range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
            )
        )
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells


def test_panels_ask_the_source_that_is_provisioned() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    asked: list[Any] = [panel["datasource"] for panel in PANELS]
    asked += [target["datasource"] for panel in PANELS for target in panel["targets"]]
    asked += [variable["datasource"] for variable in BOARD["templating"]["list"]]
    assert all(each == {"type": source["type"], "uid": source["uid"]} for each in asked)
    host, port = source["url"].removeprefix("http://").split(":")
    assert COMPOSE[host]["ports"][0].endswith(f":{port}")


def test_compose_starts_what_watches_on_demand_and_offline() -> None:
    for name in ("prometheus", "grafana"):
        assert COMPOSE[name]["profiles"] == ["watch"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/passline.yml").read_text())["providers"]
    mounts = dict(volume.split(":")[:2] for volume in COMPOSE["grafana"]["volumes"])
    assert provider["options"]["path"] == mounts["./docker/grafana/dashboards"]
    assert all((ROOT / source).exists() for source in mounts if source.startswith("."))
    (file,) = yaml.safe_load((ROOT / "docker/prometheus.yml").read_text())["rule_files"]
    assert f"./docker/alerts.yml:{file}:ro" in COMPOSE["prometheus"]["volumes"]
    environment = COMPOSE["grafana"]["environment"]
    for name in ("REPORTING_ENABLED", "CHECK_FOR_UPDATES", "CHECK_FOR_PLUGIN_UPDATES"):
        assert environment[f"GF_ANALYTICS_{name}"] == "false"
    assert environment["GF_PLUGINS_PREINSTALL_DISABLED"] == "true"

"""The lock files, the image and the compose file say what pyproject.toml and the settings say."""

import ast
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.connections import SPARE
from app.server import BACKLOG, OTHER_FILES
from app.settings import PREFIX, refuse_unknown

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
SHIPPED_STAGE = DOCKERFILE.split("FROM ${BASE}")[-1]
PARTS = ["postgresql", "oidc", "s3", "parquet"]  # what the service uses where a setting asks for it
LOCKS = {
    "serve-cpu": ["cpu", *PARTS],
    "serve-gpu": ["gpu", *PARTS],
    "serve-openvino": ["openvino", *PARTS],
    "dev": ["cpu", "train", "mlflow", "otel", *PARTS, "dev"],
    "peers": ["cpu", "peers"],
}
SERVING = [name for name in LOCKS if name.startswith("serve-")]
OURS = ["passline", "passline-gpu"]


def pins(lock: str) -> dict[str, str]:
    """The versions a lock pins, by canonical name."""
    text = (ROOT / f"requirements/{lock}.txt").read_text()
    return {
        canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.M)
    }


def direct(lock: str) -> list[Requirement]:
    """What pyproject.toml asks for, for what a lock is made from."""
    if lock in PYPROJECT["dependency-groups"]:
        return [Requirement(line) for line in PYPROJECT["dependency-groups"][lock]]
    extras = PROJECT["optional-dependencies"]
    return [
        Requirement(line) for line in PROJECT["dependencies"] + [r for e in LOCKS[lock] for r in extras[e]]
    ]


def third_party(path: Path) -> set[str]:
    """The top-level modules a file imports that are neither ours nor the standard library's."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [
        node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level
    ]
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"app", "training", "tests"}


@pytest.mark.parametrize("lock", ["build", "import", *LOCKS])
def test_lock_pins_every_direct_dependency_within_its_bounds(lock: str) -> None:
    pinned = pins(lock)
    for requirement in direct(lock):
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


@pytest.mark.parametrize(
    ("package", "locks"),
    [("app", ["serve-cpu"]), ("training", ["dev", "import"]), ("tests", ["dev", "peers"])],
)
def test_what_is_imported_is_a_direct_dependency(package: str, locks: list[str]) -> None:
    optional = map(Requirement, PROJECT["optional-dependencies"]["otel"] if package == "app" else [])
    required = [*optional, *(requirement for lock in locks for requirement in direct(lock))]
    named = {canonicalize_name(requirement.name) for requirement in required}
    distributions = packages_distributions()
    for path in (ROOT / package).rglob("*.py"):
        for module in third_party(path):
            assert named & {canonicalize_name(each) for each in distributions.get(module, [module])}, (
                path,
                module,
            )


@pytest.mark.parametrize("lock", ["build", "import", *LOCKS])
def test_lock_has_a_hash_for_every_pin(lock: str) -> None:
    text = (ROOT / f"requirements/{lock}.txt").read_text()
    entries = re.findall(r"^[\w.-]+==.*(?:\n    .*)*", text, re.M)
    assert len(entries) == len(pins(lock))
    assert all("--hash=sha256:" in entry for entry in entries)


def test_what_installs_the_project_is_what_it_is_built_with() -> None:
    assert PYPROJECT["dependency-groups"]["build"] == PYPROJECT["build-system"]["requires"]


@pytest.mark.parametrize("lock", ["import", *LOCKS])
def test_what_installs_the_project_fits_every_environment(lock: str) -> None:
    pinned = pins(lock)
    assert {
        name: version for name, version in pins("build").items() if pinned.get(name, version) != version
    } == {}


@pytest.mark.parametrize("lock", SERVING)
def test_serving_never_installs_training(lock: str) -> None:
    training = {canonicalize_name(Requirement(r).name) for r in PROJECT["optional-dependencies"]["train"]}
    assert not (training - {"markupsafe"}) & set(pins(lock))  # Jinja2 needs it
    assert "opencv-python" not in pins(lock), "the headless build needs no libraries of a desktop"


@pytest.mark.parametrize("lock", SERVING)
def test_what_is_served_is_what_is_tested(lock: str) -> None:
    tested = pins("dev")
    only_here = {n for n in pins(lock) if n.startswith(("nvidia-", "onnxruntime"))}
    assert {n: v for n, v in pins(lock).items() if n not in only_here and tested[n] != v} == {}


def test_peers_run_on_what_the_service_runs_on() -> None:
    peers = pins("peers")
    served = {name: version for name, version in pins("serve-cpu").items() if "opentelemetry" not in name}
    assert {name: version for name, version in served.items() if peers.get(name, version) != version} == {}


def make(folder: Path, **environment: str) -> str:
    """What `make serve` would run."""
    command = ["make", "--dry-run", "serve"]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A clone in which nothing has been set up."""
    folder = tmp_path / "fresh clone"
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    shutil.copy(ROOT / "Makefile", folder)
    return folder


def test_environment_is_set_up_once_and_again_where_the_folder_moves(fresh: Path) -> None:
    first = make(fresh)
    assert "-m venv --clear .venv" in first
    (stamp,) = re.findall(r"touch (\.venv/\S+)", first)
    (fresh / ".venv").mkdir()
    (fresh / stamp).touch()
    assert "venv --clear" not in make(fresh)
    assert "venv --clear" in make(fresh.rename(fresh.with_name("moved")))


def test_python_that_fails_is_passed_over(fresh: Path, tmp_path: Path) -> None:
    shims = tmp_path / "shims"
    shims.mkdir()
    (shims / "python3.11").write_text("#!/bin/sh\nexit 127\n")
    (shims / "python3.11").chmod(0o755)
    (shims / "python3").symlink_to(sys.executable)
    assert "\npython3 -m venv" in make(fresh, PATH=f"{shims}:{os.environ['PATH']}")


def test_image_runs_as_a_numbered_user_who_is_not_root() -> None:
    (user,) = re.findall(r"^USER (\d+):(\d+)$", SHIPPED_STAGE, re.M)
    assert "0" not in user


def test_image_ships_neither_compiler_nor_pip() -> None:
    removes, makes = re.findall(r"^RUN (.*)", SHIPPED_STAGE, re.M)
    assert removes.startswith("rm -rf /usr/local/bin/pip*")
    assert makes.startswith("install -d -o 10001")
    assert "--without-pip" in DOCKERFILE
    assert not re.search(r"apt-get|gcc|build-essential", DOCKERFILE)


def test_base_image_is_pinned_by_its_digest() -> None:
    for name in OURS:
        base = COMPOSE["services"][name]["build"]["args"]["BASE"]
        assert re.fullmatch(r"python:3\.11-slim@sha256:[0-9a-f]{64}", base)


def test_every_container_has_a_limit_of_memory_and_processes() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["mem_limit"], name
        assert service["memswap_limit"] == service["mem_limit"], name
        assert 0 < service["pids_limit"] <= 512, name


def test_the_service_takes_all_connections_that_the_front_lets_in() -> None:
    let_in = int(re.findall(r"limit_conn in_all (\d+);", (ROOT / "docker/nginx/nginx.conf").read_text())[0])
    by_tcp = int(COMPOSE["services"]["passline"]["environment"]["PASSLINE_MAX_CONNECTIONS"])
    assert by_tcp // 2 >= let_in, "the front is one address, which gets half of the connections"
    unit = (ROOT / "docker/systemd/passline.service").read_text()
    by_socket, files = (
        int(re.findall(rf"{name}=(\d+)", unit)[0]) for name in ("PASSLINE_MAX_CONNECTIONS", "LimitNOFILE")
    )
    assert by_socket >= let_in
    assert files >= by_socket + SPARE + BACKLOG + OTHER_FILES


def test_build_context_holds_what_the_image_copies() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    sources = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE, re.M)
    assert sources
    for source in sources:
        assert any(source == each or source.startswith(each + "/") for each in allowed), source
        assert list(ROOT.glob(source.replace("${VARIANT}", "*"))), source


def test_settings_in_image_and_compose_exist() -> None:
    environment = dict(re.findall(rf"\b({PREFIX}\w+)=(\S+)", SHIPPED_STAGE))
    assert environment
    refuse_unknown(environment)
    for name in OURS:
        refuse_unknown(COMPOSE["services"][name]["environment"])
    assert (ROOT / environment["PASSLINE_BUNDLE_DIR"].removeprefix("/opt/passline-app/")).is_dir()


@pytest.mark.parametrize("name", [*OURS, "prometheus", "grafana"])
def test_containers_are_locked_down(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert all(":-127.0.0.1}:" in port or port.startswith("127.0.0.1:") for port in service["ports"])


@pytest.mark.parametrize("name", OURS)
def test_models_are_mounted_read_only_and_variants_have_a_lock(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["volumes"] == [
        "./models:/opt/passline-app/models:ro",
        "./keys:/keys:ro",
        "passline-data:/data",
    ]
    assert "PASSLINE_DATA_DIR=/data" in SHIPPED_STAGE
    assert service["user"] in SHIPPED_STAGE
    assert f"serve-{service['build']['args']['VARIANT']}" in LOCKS


def test_prometheus_scrapes_the_service() -> None:
    (job,) = yaml.safe_load((ROOT / "docker/prometheus.yml").read_text())["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert host in COMPOSE["services"]
    assert f"PASSLINE_PORT={port}" in SHIPPED_STAGE
    assert host in COMPOSE["services"]["passline-gpu"]["networks"]["default"]["aliases"]


class _Probe(BaseHTTPRequestHandler):
    """Answers with the status its server holds."""

    def do_GET(self) -> None:
        self.send_response(self.server.status if self.path == "/readyz" else 404)  # type: ignore[attr-defined]
        self.end_headers()
        self.wfile.write(b"because")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def probed() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), _Probe) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "exit_status"), [(200, 0), (503, 1)])
def test_healthcheck_follows_readiness(probed: HTTPServer, status: int, exit_status: int) -> None:
    probed.status = status  # type: ignore[attr-defined]
    environment = {"PASSLINE_PORT": str(probed.server_port), "http_proxy": "http://127.0.0.1:9"}
    command = [sys.executable, str(ROOT / "docker/healthcheck.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (exit_status, "because")


def test_the_core_leaves_no_telemetry_identity(tmp_path: Path) -> None:
    hidden = {"ORT_DISABLE_TELEMETRY", "CI", "XDG_CACHE_HOME"}  # ONNX Runtime keeps quiet in CI by itself
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [sys.executable, "-c", "import app.inspection.inference.session"]
    subprocess.run(command, env=environment | {"HOME": str(tmp_path)}, cwd=ROOT, check=True)
    assert list(tmp_path.rglob("*")) == []

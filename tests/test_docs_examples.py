"""The examples of README and docs: Python, JavaScript and Java run, YAML is accepted, commands exist."""

import argparse
import base64
import contextlib
import io
import itertools
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from app.__main__ import _parser as app_parser
from app.inspection.bundle.bundle import Bundle
from app.inspection.errors import RecipeInvalid
from app.inspection.rules.recipe import check_classes, parse_recipe
from tests.markdown import ROOT, Block, all_blocks, blocks, commands, pages
from tests.readme_figures import BUNDLE
from tests.serving import HOST, Serving, serving
from training.__main__ import _parser as training_parser
from training.__main__ import main as training
from training.config import Config
from training.data.layouts.magnetic_tile import read_magnetic_tile
from training.data.synthesis.tiles import CLASSES
from training.files import write_manifest

SHOWN_URL = f"http://{HOST}:8000"
FRONT_URL = "https://passline.plant:8443"
SHELL = [(block, command) for block in all_blocks("sh") for command in commands(block)]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


def _place(value: Any) -> str:
    return value.place if isinstance(value, Block) else str(value).split()[0]


def _pages_with(language: str) -> list[Path]:
    return [page for page in pages() if any(block.language == language for block in blocks(page))]


@pytest.mark.parametrize("block", all_blocks("yaml", "json", "yaml invalid"), ids=_place)
def test_yaml_and_json_are_accepted_where_they_are_meant_to_be(block: Block) -> None:
    if block.page.name == "training.md":
        Config.model_validate(yaml.safe_load(block.body))
    elif block.page.name != "recipes.md":
        yaml.safe_load(block.body)  # JSON is YAML, too
    elif block.language == "yaml invalid":
        with pytest.raises(RecipeInvalid):
            check_classes(parse_recipe(block.body, block.place), CLASSES)
    else:
        check_classes(parse_recipe(block.body, block.place), CLASSES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the examples run: the project's models, and the files that docs/api.md speaks of."""
    place = tmp_path_factory.mktemp("examples")
    (place / "models").symlink_to(ROOT / "models")
    (place / "recipes").mkdir()
    for number, block in enumerate(block for block in all_blocks("yaml") if block.page.name == "recipes.md"):
        (place / f"recipes/{number}.yaml").write_text(block.body, encoding="utf-8")
    shutil.copy(place / "recipes/0.yaml", place / "strict.yaml")
    (place / "recipes/trial.yaml").write_text("name: trial\n", encoding="utf-8")
    for name, sample in (("tile", "break"), ("tile.mask", "break.mask"), ("tile-2", "good")):
        shutil.copy(BUNDLE / f"golden/{sample}.png", place / f"{name}.png")
    (place / "frame.raw").write_bytes(Image.open(place / "tile.png").tobytes())
    encoded = base64.b64encode((place / "tile.png").read_bytes()).decode()
    (place / "tile.json").write_text(json.dumps({"image": encoded, "part_id": "tile-000117"}))
    return place


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Serving]:
    following = folder / "bundles/magnetic-tile/7"  # the next version, as the docs have it
    shutil.copytree(BUNDLE, following)
    shutil.copytree(BUNDLE, following.with_name(BUNDLE.name))
    write_manifest(following, Bundle.load(following).model_copy(update={"version": "7"}))
    places: dict[str, Any] = {
        "recipes_dir": folder / "recipes",
        "bundles_dir": folder / "bundles",
        "history": "sync",
    }
    with serving(BUNDLE, device="cpu", **places) as running:
        yield running


@pytest.mark.parametrize("page", _pages_with("python"), ids=lambda page: page.name)
def test_python_runs_and_prints_what_is_shown(
    page: Path, folder: Path, service: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks of a page run in order, as one program; a `text` block after one is what it prints."""
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"__name__": page.stem}
    found = blocks(page)
    for block, following in zip(found, [*found[1:], None], strict=True):
        if block.language != "python":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = "\n" * (block.line - 1) + block.body.replace(SHOWN_URL, service.url)
            exec(compile(code, str(page), "exec"), names)
        if following is not None and following.language == "text":
            assert printed.getvalue() == following.body, block.place


# How a block of another language is run, by the name its file gets.
PROGRAMS = {"js": ("node", "client.mjs"), "java": ("java", "Client.java")}


def _programs() -> list[Any]:
    """The blocks in PROGRAMS, each with the `text` block right after it, which is what it prints."""
    found = [pair for page in pages() for pair in itertools.pairwise(blocks(page))]
    pairs = [pair for pair in found if pair[0].language in PROGRAMS and pair[1].language == "text"]
    whole = all_blocks(*PROGRAMS)
    assert [each for each, _ in pairs] == whole, "each program is followed by a block with what it prints"
    return [pytest.param(block, printed.body, id=block.place) for block, printed in pairs]


@pytest.mark.parametrize(("block", "printed"), _programs())
def test_program_prints_what_is_shown(
    block: Block, printed: str, folder: Path, service: Serving, tmp_path: Path
) -> None:
    tool, name = PROGRAMS[block.language]
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not on the PATH")
    program = tmp_path / name
    program.write_text(block.body.replace(SHOWN_URL, service.url), encoding="utf-8")
    done = subprocess.run([tool, program], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, printed), f"{block.place}: {done.stderr}"


def _curls() -> list[Any]:
    found = [(block, command) for block, command in SHELL if command.startswith("curl ")]
    return [pytest.param(command, id=block.place) for block, command in found]


@pytest.mark.parametrize("command", _curls())
def test_curl_is_answered(command: str, folder: Path, service: Serving) -> None:
    command = command.replace(
        FRONT_URL, SHOWN_URL
    )  # the same service behind nginx; tests/attacks call it there
    words = [word.replace(SHOWN_URL, service.url) for word in shlex.split(command)]
    assert any(service.url in word for word in words), f"the examples ask {SHOWN_URL}"
    done = subprocess.run([*words, "--fail-with-body"], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout.decode()[:500]} {done.stderr.decode()}"


def _check_make(words: list[str]) -> None:
    for word in words:
        name, is_variable, _ = word.partition("=")
        pattern = rf"^{name}\s*[?:]?=|\$\({name}\)" if is_variable else rf"^{name}:"
        assert re.search(pattern, MAKEFILE, re.MULTILINE), f"the Makefile knows no {name}"
    dry = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert dry.returncode == 0, dry.stderr
    for line in dry.stdout.splitlines():
        if "/passline " in line:
            _check_passline(shlex.split(line.partition("/passline ")[2]))


def _check_passline(words: list[str]) -> None:
    trains = words[0] == "train"
    options = _parsed(training_parser(), words[1:]) if trains else _parsed(app_parser(), words)
    config = getattr(options, "config", None)
    own = config is not None and config.parts[0] != "training"
    assert config is None or own or (ROOT / config).is_file(), f"there is no {config}"


def _check_python(words: list[str]) -> None:
    module = words[1]
    path = ROOT.joinpath(*module.split("."))
    known = path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()
    assert known or module in {"pip", "venv"}, f"python -m {module}?"


def _parsed(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    refusal = io.StringIO()
    try:
        with contextlib.redirect_stderr(refusal):
            return parser.parse_args(arguments)
    except SystemExit as stop:
        raise AssertionError(refusal.getvalue()) from stop


def _check_docker(words: list[str]) -> None:
    if words[0] == "compose":
        named = {word for word in words if re.fullmatch(r"(passline|prometheus|grafana)[\w-]*", word)}
        assert named <= set(COMPOSE["services"]), f"docker-compose.yml has no {named}"
    arguments = [word for before, word in itertools.pairwise(words) if before == "--build-arg"]
    for argument in arguments:
        name = argument.partition("=")[0]
        assert f"ARG {name}=" in (ROOT / "Dockerfile").read_text(encoding="utf-8"), name
    for before, word in itertools.pairwise(words):
        if before == "-f":
            assert (ROOT / word).is_file(), f"there is no {word}"


def _check_nothing(words: list[str]) -> None:
    """A tool of the reader's own system: nothing of ours in it."""


SYSTEM_TOOLS = ("apt", "install", "systemctl", "useradd")


def _check_sudo(words: list[str]) -> None:
    if words[0] == "-u":
        words = words[2:]
    if words[0] == "env":
        words = [word for word in words[1:] if not re.match(r"\w+=", word)]
    if words[0] == "install":
        for source in [word for word in words[1:-1] if not re.fullmatch(r"-\w|\d+", word)]:
            assert (ROOT / source).is_file(), f"there is no {source}"
    tool = words[0].rpartition("/")[2]
    assert tool in CHECKS or tool in SYSTEM_TOOLS, f"sudo runs {tool}, which the examples do not use"
    CHECKS.get(tool, _check_nothing)(words[1:])


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "make": _check_make,
    "passline": _check_passline,
    "python": _check_python,
    "docker": _check_docker,
    "sudo": _check_sudo,
    **dict.fromkeys(
        ["cd", "chown", "cp", "df", "free", "git", "gunzip", "ls", "mkdir", "mv", "nvidia-smi", "openssl"],
        _check_nothing,
    ),
    **dict.fromkeys(["export", "rsync", "sqlite3", "ss", "tensorboard"], _check_nothing),
}


def _others() -> list[Any]:
    found = [(block, command) for block, command in SHELL if not command.startswith("curl ")]
    return [pytest.param(command, id=f"{block.place} {command[:40]}") for block, command in found]


@pytest.mark.parametrize("command", _others())
def test_command_exists(command: str) -> None:
    words = shlex.split(command)
    while re.match(r"\w+=", words[0]):
        words = words[1:]  # names of settings are checked on every page
    tool = words[0].rpartition("/")[2]
    tool = "python" if tool.startswith("python") else tool
    assert tool in CHECKS, f"{tool} is no tool that the examples use; add it to CHECKS with its check"
    CHECKS[tool](words[1:])


@pytest.mark.parametrize(
    "command", [each for _, each in SHELL if each.startswith("passline train data generate ")]
)
def test_generate_writes_what_the_reader_reads(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = shlex.split(command.removeprefix("passline train "))
    assert training([*arguments, "--count", "4"]) == 0  # the last count is in force
    assert len(read_magnetic_tile(training_parser().parse_args(arguments).out).samples) == 4

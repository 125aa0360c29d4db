"""`passline` as people call it: what it prints, and with which status it ends."""

import json
import os
import signal
import subprocess
import tomllib
from pathlib import Path

import cv2
import pytest

from app.__main__ import PLUGINS, main
from tests.markdown import ROOT
from tests.serving import Serving, app_command, environment
from tests.tiny_bundle import write_tiny_bundle


def app(*arguments: object, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        app_command(*map(str, arguments)),
        cwd=ROOT,
        env=environment(**({"threads": 1} | settings)),
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def folder(tmp_path: Path, clean: bytes) -> Path:
    (tmp_path / "below").mkdir()
    (tmp_path / "a.png").write_bytes(clean)
    (tmp_path / "below" / "b.PNG").write_bytes(clean)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_inspect_a_folder_where_all_pass(bundle_dir: Path, folder: Path) -> None:
    done = app("inspect", folder, bundle_dir=bundle_dir)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["image", "verdict", "decided", "by", "ms"]
    assert [Path(line[0]).name for line in lines[1:]] == ["a.png", "b.PNG"]
    assert [line[1] for line in lines[1:]] == ["pass", "pass"]


def test_inspect_follows_links_and_leaves_no_image_out(
    bundle_dir: Path, folder: Path, clean: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "c.png").write_bytes(clean)
    (folder / "link").symlink_to(elsewhere)
    (elsewhere / "circle").symlink_to(folder)
    (folder / "d.webp").write_bytes(b"RIFF\0\0\0\0WEBPVP8 ")
    (folder / "._a.png").write_bytes(b"\0\5\x16\7")  # of macOS
    done = app("inspect", folder, "--json", bundle_dir=bundle_dir)
    lines = {Path(line["file"]).name: line for line in map(json.loads, done.stdout.splitlines())}
    assert sorted(lines) == ["a.png", "b.PNG", "c.png", "d.webp"]
    assert "the file is WebP" in lines["d.webp"]["detail"]
    assert done.returncode == 2


def test_inspect_a_folder_where_one_fails(bundle_dir: Path, folder: Path, dark: bytes) -> None:
    (folder / "c.png").write_bytes(dark)
    done = app("inspect", folder, "--json", bundle_dir=bundle_dir)
    assert done.returncode == 1
    verdicts = {
        Path(line["file"]).name: line["verdict"] for line in map(json.loads, done.stdout.splitlines())
    }
    assert verdicts == {"a.png": "pass", "b.PNG": "pass", "c.png": "fail"}


def test_inspect_a_folder_with_certificates(
    bundle_dir: Path, folder: Path, dark: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (folder / "c.png").write_bytes(dark[:100])
    out = tmp_path_factory.mktemp("certificates")
    done = app("inspect", folder, "--json", "--certificates", out, bundle_dir=bundle_dir)
    assert done.returncode == 2
    assert not any(line.get("certificate") for line in map(json.loads, done.stdout.splitlines()))
    written = sorted(str(file.relative_to(out)) for file in out.rglob("*.html"))
    assert written == ["a.png.html", "below/b.PNG.html"]
    assert "b.PNG" in (out / "below/b.PNG.html").read_text()
    nowhere = app("inspect", folder, "--certificates", folder / "c.png", bundle_dir=bundle_dir)
    assert (nowhere.returncode, nowhere.stderr.partition(":")[0]) == (
        2,
        f"no certificate can be written in {folder / 'c.png'}",
    )


def test_inspect_a_folder_with_a_picture_that_cannot_be(
    bundle_dir: Path, folder: Path, dark: bytes, recipes_dir: Path
) -> None:
    (folder / "c.png").write_bytes(dark[:100])
    (folder / "d.png").write_bytes(dark)
    table = app("inspect", folder, "--recipe", "generous", bundle_dir=bundle_dir, recipes_dir=recipes_dir)
    assert table.returncode == 2
    assert "error    image_truncated" in table.stdout
    assert "d.png        pass" in table.stdout
    lines = app("inspect", folder, "--json", bundle_dir=bundle_dir).stdout.splitlines()
    assert [json.loads(line).get("code") for line in lines] == [None, None, "image_truncated", None]


@pytest.mark.parametrize(
    ("arguments", "settings", "says"),
    [
        (("verify", "/nowhere"), {}, "/nowhere"),
        (("verify",), {"port": "x"}, "PASSLINE_PORT"),
        (("build-engine",), {}, "PASSLINE_ENGINES_DIR is not set"),
        (("verify",), {"upload_memory_bytes": 1}, "upload_memory_bytes must be"),
        (("serve",), {"devcie": "cuda"}, "did you mean PASSLINE_DEVICE?"),
        (("dance",), {}, "dance"),
        ((), {}, "required"),
    ],
)
def test_what_cannot_be_done_says_why(
    arguments: tuple[str, ...],
    settings: dict[str, object],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In this process: it takes seconds to start another."""
    monkeypatch.setattr("os.environ", environment(**settings))
    try:
        status = main(list(arguments))
    except SystemExit as end:
        status = int(end.code or 0)
    done = capsys.readouterr()
    assert (status, done.out) == (2, "")
    assert says in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("place", ["/nowhere", "tests"])
def test_a_folder_without_pictures_is_told(place: str) -> None:
    done = app("inspect", place)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no image" in done.stderr


def test_inspect_ends_quietly_where_its_reader_leaves(bundle_dir: Path, folder: Path) -> None:
    read, write = os.pipe()
    os.close(read)  # as `passline inspect FOLDER | head` does
    command = app_command("inspect", str(folder), "--json")
    env = environment(threads=1, bundle_dir=bundle_dir)
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=write, stderr=subprocess.PIPE, timeout=120)
    os.close(write)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


def test_inspect_by_a_recipe_that_is_not_there(bundle_dir: Path, folder: Path) -> None:
    done = app("inspect", folder, "--recipe", "nope", bundle_dir=bundle_dir)
    assert done.returncode == 2
    assert "the recipes are tiny" in done.stderr


def test_verify_a_good_bundle_and_a_bad_one(bundle_dir: Path, tmp_path: Path) -> None:
    good = app("verify", bundle_dir)
    assert good.returncode == 0
    assert "tiny 1: 6 files are as published" in good.stdout
    assert "fp32 on CPUExecutionProvider reproduces all 2 golden samples" in good.stdout
    bad = write_tiny_bundle(tmp_path / "bad")
    (bad / "recipe.yaml").write_text("name: other")
    done = app("verify", bad)
    assert done.returncode == 2
    assert "recipe.yaml" in done.stderr


def test_demo_shows_verdicts_and_writes_overlays(server: Serving, bundle_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "overlays"
    done = app("demo", "--url", server.url, "--out", out, bundle_dir=bundle_dir)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split()[:3] for line in done.stdout.splitlines()[1:3]]
    assert rows == [["defective.png", "fail", "fail"], ["good.png", "pass", "pass"]]
    for name in ("defective", "good"):
        assert cv2.imread(str(out / f"{name}.overlay.png")) is not None


def test_demo_on_a_folder_with_a_bad_picture(
    server: Serving, bundle_dir: Path, folder: Path, tmp_path: Path
) -> None:
    (folder / "empty.jpg").write_bytes(b"")
    done = app("demo", folder, "--url", server.url, "--out", tmp_path / "out", bundle_dir=bundle_dir)
    assert done.returncode == 1
    assert "image_empty" in done.stdout
    assert "3 images" in done.stdout


def test_demo_without_a_service_says_how_to_start_one(bundle_dir: Path, tmp_path: Path) -> None:
    done = app("demo", "--url", "http://127.0.0.1:9", "--out", tmp_path, bundle_dir=bundle_dir)
    assert done.returncode == 2
    assert "make serve" in done.stderr


def _installed(place: Path, train: str) -> Path:
    """What an installation of Passline leaves for its commands to be found."""
    info = place / "passline-0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: passline\nVersion: 0.0\n")
    (info / "entry_points.txt").write_text(f"[passline.commands]\ntrain = {train}\n")
    return place


def _run_installed(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = environment(threads=1) | {"PYTHONPATH": str(place)}
    return subprocess.run(
        app_command(*arguments), cwd=ROOT, env=env, capture_output=True, text=True, timeout=120
    )


@pytest.mark.slow
def test_train_is_a_command_where_training_is_installed(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"passline": "app.__main__:main"}
    (train,) = project["entry-points"][PLUGINS].values()
    done = _run_installed(_installed(tmp_path, train), "train", "run", "--help")
    assert (done.returncode, done.stderr.count("error")) == (0, 0)
    assert "--large-data" in done.stdout


def test_train_says_what_is_missing_where_it_is_not(tmp_path: Path) -> None:
    done = _run_installed(_installed(tmp_path, "not_there.main:main"), "train", "run")
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "passline train needs the package not_there, which is not installed here; install Passline with its "
        "extra `train`"
    )

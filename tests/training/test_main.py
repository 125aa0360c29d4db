"""The command line: what cannot be done is refused in one line, before anything long begins."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training.datasets.layouts import write_pairs
from training.__main__ import _parser, _placeless, main
from training.data.layouts.magnetic_tile import write_generated


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiles")
    write_generated(root, count=12, seed=5)
    return root


@pytest.mark.parametrize(
    "words",
    [
        ["cross-validate", "--folds", "1"],
        ["compare", "--folds", "0"],
        ["compare", "--repeats", "0"],
        ["learning-curve", "--folds", "6"],
        ["evaluate", "bundle", "--out", "report", "--changes", "-1"],
    ],
)
def test_number_out_of_range_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*words, "--data", "tiles"])
    assert f"argument {words[-2]}" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["generate", "synthesise"])
def test_negative_seed_is_refused(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["data", command, str(tmp_path / "new"), "--seed", "-1"])
    assert "argument --seed: '-1' is not a whole number of at least 0" in capsys.readouterr().err


def test_check_lists_every_mask_that_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pairs(tmp_path)
    for name in ("a", "c"):
        (tmp_path / f"masks/{name}.png").write_bytes(b"no image")
    assert main(["data", "check", str(tmp_path), "--out", str(tmp_path / "audit.html")]) == 1
    assert "unreadable mask: 2" in capsys.readouterr().out


@pytest.mark.parametrize("text", [None, "no json", "[]", '{"train": 3}'])
def test_audit_refuses_what_is_no_splits_file(
    text: str | None, tiles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = tmp_path / "splits.json"
    if text is not None:
        splits.write_text(text)
    words = ["data", "check", "--splits", splits, "--out", tmp_path / "audit.html", tiles]
    assert main(list(map(str, words))) == 2
    assert f"error: {splits} is " in capsys.readouterr().err


def test_report_goes_into_a_new_folder_but_not_over_one(
    tiles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", str(tiles), "--out", str(tmp_path)]) == 2
    assert "is a folder; give a file for the page" in capsys.readouterr().err
    assert main(["data", "check", str(tiles), "--out", str(tmp_path / "new/audit.html")]) in (0, 1)
    assert (tmp_path / "new/audit.html").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--data", "/home/me/parts/"], "--data DATA"),
        (["--data=/home/me/parts/"], "--data=DATA"),
        (["--data", "../me/parts"], "--data DATA"),
        (["--data", "parts/../../me"], "--data DATA"),
        (["--dat", "/home/me/./parts"], "--dat DATA"),
        (["--data=/home/me/a=b"], "--data=DATA"),
        (["--data", "parts", "--from", "models/own/1"], "--data parts --from models/own/1"),
        (["--data", "parts", "--models", "/srv/me//models"], "--data parts --models MODELS"),
    ],
)
def test_a_command_is_published_without_places(words: list[str], told: str) -> None:
    arguments = ["run", *words]
    assert _placeless(arguments, _parser().parse_args(arguments)) == ["run", *told.split()]


def test_another_set_is_published_without_its_place() -> None:
    for other in ("steel=/home/me/steel/", "steel=../me"):
        arguments = ["evaluate", "models/own/1", "--data", "d", "--out", "/tmp/o/", "--other", other]
        told = _placeless(arguments, _parser().parse_args(arguments))
        assert told[4:] == ["--out", "OUT", "--other", "steel=ROOT"]


def test_sigterm_ends_a_command_with_a_sentence(tmp_path: Path) -> None:
    words = ["data", "synthesise", str(tmp_path / "made"), "--count", "100000"]
    command = [sys.executable, "-m", "training", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not list(tmp_path.iterdir()) and process.poll() is None:
            time.sleep(0.2)
        process.terminate()
        try:
            _, said = process.communicate(timeout=240)
        finally:
            process.kill()
    assert process.returncode == 143
    assert said.splitlines()[-1] == "stopped by SIGTERM; run the same command to continue"
    assert "Traceback" not in said


def test_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main(["data", "generate", str(tmp_path / "file/tiles"), "--count", "6"]) == 2
    assert "file" in capsys.readouterr().err

"""What a run refuses before it trains, and what it says of files that a killed run left cut."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training.__main__ import main
from training.config import ConfigError
from training.config_files import load_config, settle
from training.files import read_json, read_weights, write_text, written_whole
from training.model.finetune import _load_checkpoint
from training.run import Run
from training.steps.publish import check_publishing


@pytest.fixture
def run(tmp_path: Path) -> Run:
    config = settle(load_config(Path("training/configs/smoke.yaml")), "small", "parts", None)
    return Run(config, tmp_path / "none", tmp_path / "run", tmp_path / "models", "passline train run")


def _folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def test_published_version_is_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models/smoke/1").mkdir(parents=True)
    folders = ["--data", tmp_path / "none", "--runs", tmp_path / "runs", "--models", tmp_path / "models"]
    assert main(["run", "--config", "training/configs/smoke.yaml", *map(str, folders)]) == 2
    assert "raise the version" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_other_weights_to_start_from_are_refused(run: Run, tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_text(_folder(tmp_path / name) / "weights.safetensors", name)
    started = replace(run, start=tmp_path / "one")
    started.claim()
    started.claim()
    for start in (tmp_path / "other", None):
        with pytest.raises(ConfigError, match="is of other weights to start from"):
            replace(run, start=start).claim()


def test_unfit_comparison_is_refused_before_training(run: Run, tmp_path: Path) -> None:
    compared = replace(run, comparison=tmp_path / "other")
    with pytest.raises(ConfigError, match="takes the folder of an evaluated run"):
        check_publishing(compared)
    (tmp_path / "other/bundle").mkdir(parents=True)
    evaluation = tmp_path / "other/bundle/evaluation.json"
    evaluation.write_text(json.dumps({"split": {"by": "group"}}))
    with pytest.raises(ConfigError, match="not of a run split by picture"):
        check_publishing(compared)


def test_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    write_text(path, "whole")
    with pytest.raises(FileNotFoundError), written_whole(path) as partial:
        (partial / "killed").touch()
    assert path.read_text() == "whole"


@pytest.mark.parametrize("read", [read_json, read_weights, _load_checkpoint])
@pytest.mark.parametrize("data", [b"", b"{", b"PK\x03\x04cut"])
def test_cut_file_is_named(tmp_path: Path, read: Callable[[Path], object], data: bytes) -> None:
    path = tmp_path / "cut"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"cut is not readable .*; remove"):
        read(path)


def test_cut_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ConfigError, match=r"last\.ckpt is not readable .*; remove the folder"):
        _load_checkpoint(path)


@pytest.mark.parametrize("text", ["", "name: [", "name: smoke"])
def test_cut_configuration_of_a_run_is_named(run: Run, text: str) -> None:
    run.claim()
    (run.directory / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"remove .*config\.yaml"):
        run.claim()


@pytest.mark.parametrize("count", ["0", "-3", "many"])
def test_count_of_generated_pictures_is_at_least_one(
    tmp_path: Path, count: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["data", "generate", str(tmp_path), f"--count={count}"])
    assert "is not a whole number of at least 1" in capsys.readouterr().err

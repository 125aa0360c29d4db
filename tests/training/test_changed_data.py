"""What a run makes of a folder or weights that know other data, and that a refused run is in nobody's way."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tiny_bundle import write_tiny_bundle
from training.__main__ import main
from training.config import ConfigError, ModelConfig, SplitConfig
from training.config_files import load_config, settle
from training.data.contents import TRAINED_ON, contents_of, write_trained_on
from training.data.registry import read_dataset
from training.data.splits import make_splits
from training.files import write_text
from training.model.segmenter import build_segmenter
from training.run import FOLDS, WEIGHTS, Run
from training.steps.export import add_weights
from training.steps.fit import initial_segmenter
from training.steps.split import split

from .test_preconditions import write_parts


@pytest.fixture
def run(tmp_path: Path) -> Run:
    path = tmp_path / "config.yaml"
    path.write_text("small: {split: {seed: 2}}")
    config = settle(load_config(path), "small", "parts", None)
    data = write_parts(tmp_path / "parts")
    return Run(config, data, tmp_path / "run", tmp_path / "models", "passline train run")


def _fitted(run: Run) -> Run:
    """The run once it is divided and its fit has left weights."""
    split(run)
    run.weights.parent.mkdir(parents=True, exist_ok=True)
    write_text(run.weights, "weights")
    return run


def _mark_elsewhere(data: Path, number: int) -> None:
    mask = np.zeros((72, 72), np.uint8)
    mask[40:50, 40:50] = 255
    cv2.imwrite(str(data / f"masks/pit/{number}.png"), mask)


def test_other_labels_under_the_same_names_are_noticed_after_a_fit(run: Run) -> None:
    split(_fitted(run))
    _mark_elsewhere(run.data, 3)
    with pytest.raises(ConfigError, match=r"defect/pit/3.png is labelled otherwise \(1 in all\)"):
        split(run)


def test_another_image_under_the_same_name_is_noticed_after_a_fit(run: Run) -> None:
    _fitted(run)
    (run.data / "good/3.png").write_bytes((run.data / "good/4.png").read_bytes())
    with pytest.raises(ConfigError, match=r"good/3.png is another image"):
        split(run)


def test_a_set_that_was_moved_is_the_same(run: Run, tmp_path: Path) -> None:
    splits = split(_fitted(run)).splits
    moved = replace(run, data=run.data.rename(tmp_path / "elsewhere"))
    found = split(moved).splits
    assert {name: len(each) for name, each in found.items()} == {k: len(v) for k, v in splits.items()}


def test_labels_may_change_before_a_fit(run: Run) -> None:
    split(run)
    _mark_elsewhere(run.data, 3)
    (run.data / "good/3.png").unlink()
    split(run)
    listed = json.loads((run.directory / "splits.json").read_text())
    assert "good/3.png" not in {name for names in listed.values() for name in names}


def test_a_folder_divided_by_an_earlier_version_is_refused_once_something_was_fitted(run: Run) -> None:
    _fitted(run)
    (run.directory / "contents.json").unlink()
    with pytest.raises(ConfigError, match="divided by an earlier version, by other rules; give another"):
        split(run)
    run.weights.unlink()
    split(run)


def test_a_refused_run_refuses_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, config = write_parts(tmp_path / "parts"), tmp_path / "config.yaml"
    words = ["run", "--until", "split", "--config", config, "--data", data, "--runs", tmp_path / "runs"]
    for stage, status in (
        ("severity: {pti: major}", 2),
        ("split: {train_share: 0.01}", 2),  # too few for a gate
        ("split: {folds: 20}, gate: null", 0),
        ("split: {seed: 3}", 0),
    ):
        config.write_text(f"small: {{{stage}}}")
        assert main(list(map(str, words))) == status, capsys.readouterr().err
    assert not (tmp_path / "runs/parts-1/folds").exists()
    listed = json.loads((tmp_path / "runs/parts-1/splits.json").read_text())
    assert set(listed) == {"train", "validation", "calibration", "test"}


def test_a_fitted_folder_is_kept_from_another_configuration(run: Run) -> None:
    _fitted(run)
    with pytest.raises(ConfigError, match="another configuration; give another --runs folder"):
        split(replace(run, config=run.config.model_copy(update={"seed": 5})))
    assert run.weights.is_file()


def _start(run: Run, tmp_path: Path, known: list[str], fold: str | None = None) -> Run:
    """The run, from weights that were fitted to these images."""
    contents = contents_of(read_dataset(run.data))
    folder = tmp_path / "start" if fold is None else tmp_path / "start" / FOLDS / fold
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / WEIGHTS, "weights")
    write_trained_on(folder / TRAINED_ON, (contents[name].image for name in known))
    return replace(run, start=tmp_path / "start")


def test_weights_that_know_a_test_image_are_refused(run: Run, tmp_path: Path) -> None:
    splits = split(run).splits
    train = [each.name for each in splits["train"]]
    split(_start(run, tmp_path, train))
    with pytest.raises(ConfigError, match=r"was trained on .* \(1 such images\), which is in the test split"):
        split(_start(run, tmp_path, [*train, splits["test"][0].name]))


def test_folds_go_on_from_the_same_folds(run: Run, tmp_path: Path) -> None:
    config = run.config.model_copy(update={"split": SplitConfig(folds=3)})
    run = replace(run, config=config)
    folds = split(run).folds
    everything = [each.name for each in make_splits(read_dataset(run.data).samples, config.split)["train"]]
    with pytest.raises(ConfigError, match="which is in the test split"):
        split(_start(run, tmp_path, everything))  # without weights of folds
    for fold in folds:
        assert fold.fold is not None
        started = _start(run, tmp_path, [each.name for each in fold.splits["train"]], fold.fold.name)
    again = split(started).folds
    assert [each.start_weights for each in again] == [
        tmp_path / "start/folds" / each.directory.name / WEIGHTS for each in folds
    ]


def test_a_bundle_is_gone_on_from_fold_by_fold(run: Run, tmp_path: Path) -> None:
    model = ModelConfig(weights="none", decoder_channels=(8, 8, 8, 8, 8), tile=64, overlap=16)
    config = run.config.model_copy(update={"split": SplitConfig(folds=3), "model": model})
    run = replace(run, config=config)
    made = split(run)
    for seed, each in enumerate((made, *made.folds)):
        each.weights.parent.mkdir(parents=True, exist_ok=True)
        save_file(build_segmenter(model, 1, seed).state_dict(), each.weights)
    write_tiny_bundle(made.bundle, classes=("pit",))
    add_weights(made)
    again = split(replace(run, directory=tmp_path / "next", start=made.bundle))
    for before, now in zip((made, *made.folds), (again, *again.folds), strict=True):
        found = initial_segmenter(now, now.classes).state_dict()
        for name, value in load_file(before.weights).items():
            torch.testing.assert_close(found[name], value, rtol=2e-3, atol=1e-6, msg=name)
    one = made.bundle / "folds/repeat-0-fold-0/weights.safetensors"
    assert one.stat().st_size < 0.6 * made.weights.stat().st_size
    here = str(tmp_path).encode()
    assert not any(here in path.read_bytes() for path in made.bundle.rglob("*.*") if path.is_file())

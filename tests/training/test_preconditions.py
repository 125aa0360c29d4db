"""What the steps after a fit would refuse is refused in the split step, before any fit."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from training.__main__ import main
from training.config import Config, StageConfig
from training.config_files import settle

SIDE = 72


def write_parts(root: Path, side: int = SIDE, masks: bool = True) -> Path:
    """A plain folder of 40 good and 40 defective images of one class, `pit`."""
    for folder in ("good", "defect/pit", *(["masks/pit"] if masks else [])):
        (root / folder).mkdir(parents=True)
    random = np.random.default_rng(1)
    mask = np.zeros((side, side), np.uint8)
    mask[20:30, 20:30] = 255
    for number in range(40):
        for folder in ("good", "defect/pit"):
            pixels = random.integers(0, 256, (side, side), dtype=np.uint8)
            cv2.imwrite(str(root / folder / f"{number}.png"), pixels)
        if masks:
            cv2.imwrite(str(root / f"masks/pit/{number}.png"), mask)
    return root


def refusal(data: Path, stage: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What the split step says on stderr."""
    config = data.parent / "config.yaml"
    config.write_text(f"small: {{{stage}}}")
    words = ["run", "--until", "split", "--config", config, "--data", data, "--runs", data.parent / "runs"]
    assert main(list(map(str, words))) == 2
    assert not list((data.parent / "runs").glob("*/splits.json"))
    return capsys.readouterr().err


def test_severity_of_no_class_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = refusal(write_parts(tmp_path / "parts"), "severity: {pti: critical, pit: minor}", capsys)
    assert told == "error: severity names pti; the classes are pit\n"


def test_set_without_masks_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = refusal(write_parts(tmp_path / "parts", masks=False), "", capsys)
    assert "no defective image of the calibration split has a mask" in told


def test_picture_below_the_least_side_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = refusal(write_parts(tmp_path / "parts", side=63), "", capsys)
    assert "63 x 63 pixels; each side must be 64 or more" in told


def test_class_of_the_configuration_is_named_as_bundles_can(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = "generated: {kind: surfaces, classes: {crack: long crack}}"
    assert "call it 'long_crack'" in refusal(write_parts(tmp_path / "parts"), stage, capsys)


def test_pictures_left_out_are_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("small: {split: {train_share: 0.5}}")
    data = write_parts(tmp_path / "parts")
    words = ["run", "--until", "split", "--config", config, "--data", data, "--runs", tmp_path / "runs"]
    assert main(list(map(str, words))) == 0
    assert "25 of 80 images are in no split" in capsys.readouterr().out
    assert main(list(map(str, words))) == 0
    assert "in no split" not in capsys.readouterr().out


def test_name_of_a_long_folder_is_cut(tmp_path: Path) -> None:
    data = write_parts(tmp_path / ("parts" * 20))
    words = ["run", "--until", "split", "--data", data, "--runs", tmp_path / "runs"]
    assert main([*map(str, words), "--from", "models/surface-large/4"]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name == ("parts" * 20)[:64] + "-1"
    assert settle(Config(small=StageConfig()), "small", "parts" * 12, None).name == "parts" * 12

"""Configurations are refused with the field and what it may be."""

from pathlib import Path

import pytest

from training.config import ConfigError, load_config

CONFIGS = sorted(Path("training/configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_load(path: Path) -> None:
    assert load_config(path).name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nversion: '1'\nlearning: 3", "learning: Extra inputs are not permitted"),
        (
            "name: a\nversion: '1'\nsmall: {steps: 0}",
            r"small\.steps: Input should be greater than or equal to 1",
        ),
        ("name: a\nversion: '1'\nsplit: {train: 0.9}", "must be 1"),
        ("name: a\nversion: '1'\nmodel: {tile: 100}", "multiple of 32"),
        ("name: a\nversion: '1'\nmodel: {tile: 128, overlap: 65}", "at most half of tile"),
        ("name: a\nversion: '1'\nsmall: {steps: 5}", "validate_every must be at most steps"),
        ("name: a\nversion: '1'\nlarge: {generated_pictures: 9}", r"large\.generated_pictures must be 0"),
        ("name: a\nversion: '..'", "version: String should match pattern"),
        ("name: a\nversion: '1'\nmodel: {encoder: resnet1}", r"model\.encoder: .*unknown encoder resnet1"),
        ("name: a\nversion: '1'\nmodel: {decoder_channels: [8, 8, 8, 8, 8, 8]}", "at most 5 items"),
        ("name: a\nversion: '1'\nmodel: {decoder_channels: []}", "at least 1 item"),
        ("name: [", "is not YAML"),
        ("", "file: Input should be a valid dictionary"),
    ],
)
def test_bad_configuration_is_explained(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.yaml")


def test_file_that_is_no_text_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"name: \xff")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load_config(path)

"""How large an image may be is set in training by the service's own variables."""

from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.inspection.bundle.bundle import Bundle
from app.inspection.decoding.decode import DecodeLimits
from app.settings import Settings
from tests.tiny_bundle import write_tiny_bundle
from training.__main__ import main
from training.config import ConfigError
from training.data.sample import Blob, DatasetError, Sample
from training.limits import MAX_BYTES, MAX_PIXELS, limits
from training.sessions import inspector_of

from .test_preconditions import write_parts


def test_they_are_those_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (MAX_BYTES, MAX_PIXELS):
        monkeypatch.delenv(name, raising=False)
    assert limits() == DecodeLimits()
    monkeypatch.setenv(MAX_BYTES, "1000")
    monkeypatch.setenv(MAX_PIXELS, "90000000")
    settings = Settings()
    assert asdict(limits(64)) == {
        "max_bytes": settings.max_upload_bytes,
        "max_pixels": settings.max_pixels,
        "min_side_px": 64,
    }


@pytest.mark.parametrize("text", ["64e6", "0", "-1", "many"])
def test_what_is_no_number_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MAX_PIXELS, text)
    with pytest.raises(ConfigError, match=r"PASSLINE_MAX_PIXELS is .*; give a whole number above 0"):
        limits()


def test_bundles_are_evaluated_within_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MAX_PIXELS, "90000000")
    bundle = Bundle.load(write_tiny_bundle(tmp_path))
    assert inspector_of(bundle, bundle.artifacts[0]).limits.max_pixels == 90_000_000


def test_a_set_is_refused_and_taken_by_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_parts(tmp_path / "parts")
    for path in data.rglob("good/*.png"):
        cv2.imwrite(str(path), np.random.default_rng(1).integers(0, 256, (72, 80), np.uint8))
    config = tmp_path / "config.yaml"
    config.write_text("small: {}")
    words = ["run", "--until", "split", "--config", config, "--data", data, "--runs", tmp_path / "runs"]
    for most, status in (("5700", 2), ("5760", 0)):
        monkeypatch.setenv(MAX_PIXELS, most)
        assert main(list(map(str, words))) == status, capsys.readouterr().err


def test_an_image_beyond_the_usual_limits_is_read_where_they_are_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (MAX_BYTES, MAX_PIXELS):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "scan.png"
    cv2.imwrite(str(path), np.full((4096, 16384), 100, np.uint8))
    scan = Sample("scan", "scan", "made", "good", False, Blob(path))
    with pytest.raises(DatasetError, match="67108864"):
        scan.pixels()
    monkeypatch.setenv(MAX_PIXELS, "70000000")
    assert scan.pixels().shape == (4096, 16384)

"""`operating-point`: what it says of a bundle on labelled images, and its exit status."""

from pathlib import Path

import numpy as np
import pytest

from tests.tiny_bundle import png, write_tiny_bundle
from training.__main__ import main

BAD, GOOD = (10, 20, 30, 95), (128, 128, 128, 128, 110, 100, 90, 80)  # grey of a rectangle: dark is a defect


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("parts")
    for folder in ("good", "defect", "masks"):
        (root / folder).mkdir()
    mask = np.zeros((64, 64), np.uint8)
    mask[20:32, 20:32] = 255
    for folder, greys in (("defect", BAD), ("good", GOOD)):
        for number, grey in enumerate(greys):
            picture = np.full((64, 64), 128, np.uint8)
            picture[mask > 0] = grey
            (root / folder / f"{folder}-{number}.png").write_bytes(png(picture))
    for number in range(len(BAD)):
        (root / f"masks/defect-{number}.png").write_bytes(png(mask))
    return root


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        (["--max-overkill", "0.4"], 0, "met: overkill <= 40 % at 95 %, escape 25 % [0.631 %, 80.6 %]"),
        (["--max-escape", "0.01"], 1, "with 4 defective groups: needs 295 more without an escape"),
        (["--cost", "100", "1"], 0, "best cost at 100 an escape and 1 an overkill"),
        (["--beta", "1"], 0, "best F1, which promises nothing"),
    ],
)
def test_command_says_what_is_proven(
    bundle: Path, parts: Path, asked: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (bundle / "bundle.json").read_bytes()
    assert main(["operating-point", str(bundle), "--data", str(parts), *asked]) == status
    printed = capsys.readouterr().out
    assert printed.startswith("fp32: image threshold ")
    assert said in printed
    assert "| image threshold | escapes of 4 images | overkills of 8 |" in printed
    assert (bundle / "bundle.json").read_bytes() == before


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--max-escape", "1.5"], "max_escape: Input should be less than 1"),
        (["--beta", "1", "--defective-share", "0.1"], "--defective-share needs --cost"),
        (["--beta", "1", "--splits", "none.json"], "none.json is missing"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    bundle: Path, parts: Path, asked: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["operating-point", str(bundle), "--data", str(parts), *asked]) == 2
    assert said in capsys.readouterr().err

"""`data check` shows what was read, also where there is no fault."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.training.datasets.layouts import write
from training.__main__ import main

SIDE = 96
MARK = np.zeros((SIDE, SIDE), np.uint8)
MARK[30:50, 20:50] = 255


def surface(seed: int) -> np.ndarray:
    grain = np.random.default_rng(seed).normal(0, 1, (SIDE, SIDE)).astype(np.float32)
    return np.asarray(np.clip(120 + 60 * cv2.GaussianBlur(grain, (0, 0), 1.5), 0, 255), np.uint8)


def fill(root: Path, good: int = 3, defective: int = 3, mask: np.ndarray | None = MARK) -> None:
    """A plain folder; without a mask its defects are unmarked."""
    for number in range(good):
        write(root / f"good/g{number}.png", surface(number))
    for number in range(defective):
        write(root / f"defect/d{number}.png", surface(100 + number))
        if mask is not None:
            write(root / f"masks/d{number}.png", mask)


def checked(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    """The exit code of `data check`, what it printed, and its page."""
    status = main(["data", "check", str(root), "--out", str(root.parent / "audit.html"), *options])
    page = root.parent / "audit.html"
    return status, capsys.readouterr().out, page.read_text() if page.is_file() else ""


def test_classes_counts_and_masks_over_images_are_shown_without_a_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "set")
    status, out, page = checked(tmp_path / "set", capsys)
    assert status == 0
    assert "good: 3 images" in out
    assert "class defect: 3 images, 3 with marks, 3 regions, 1800 px" in out
    assert "warning" not in out
    assert page.count("data:image/jpeg") == 6
    assert "Masks over images" in page
    assert "Look at this" not in page


def only_defects(root: Path) -> None:
    fill(root, good=0)


def unmarked(root: Path) -> None:
    fill(root, mask=None)


def inverted(root: Path) -> None:
    fill(root, mask=255 - MARK)


def turned(root: Path) -> None:
    fill(root)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(surface(100)).save(root / "defect/d0.png", exif=exif)


def in_colour(root: Path) -> None:
    fill(root)
    rgb = np.dstack([surface(100)] * 3)
    rgb[30:50, 20:50, 0] = 250
    Image.fromarray(rgb).save(root / "defect/d0.png")


def class_ok(root: Path) -> None:
    fill(root)
    (root / "defect/OK").mkdir()
    (root / "masks/OK").mkdir()
    for path in sorted(root.glob("*/d*.png")):
        path.rename(path.parent / "OK" / path.name)


@pytest.mark.parametrize(
    ("make", "warning"),
    [
        (only_defects, "warning: no good image"),
        (unmarked, "warning: 3 of 3 defective images have no mask"),
        (inverted, "warning: 3 masks mark more than 80% of their image"),
        (turned, "warning: 1 images are turned by their EXIF and have a mask file"),
        (in_colour, "warning: 1 of 6 images are in colour and are converted to grey"),
        (class_ok, "warning: 'OK' is trained as a defect class"),
    ],
)
def test_what_is_worth_a_look_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: object, warning: str
) -> None:
    make(tmp_path / "set")  # type: ignore[operator]
    status, out, page = checked(tmp_path / "set", capsys)
    assert status == 0
    assert warning in out
    assert "Look at this" in page


def test_set_without_defects_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        write(tmp_path / f"set/images/{number}.png", surface(number))
        write(tmp_path / f"set/masks/{number}.png", 0 * MARK)
    assert "warning: no defective image" in checked(tmp_path / "set", capsys)[1]


def test_configuration_says_how_labels_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    void = np.where(MARK > 0, np.uint8(1), np.uint8(255) * cv2.dilate(MARK, np.ones((7, 7))).astype(bool))
    fill(tmp_path / "set", mask=void)
    assert checked(tmp_path / "set", capsys)[0] == 1
    config = tmp_path / "line.yaml"
    config.write_text("small: {labels: {mask_values: {1: dent, 255: ignore}}}\n")
    status, out, _ = checked(tmp_path / "set", capsys, "--labels", str(config))
    assert status == 0
    assert "class dent: 3 images, 3 with marks, 3 regions, 1800 px" in out


def test_refusal_of_labels_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "set")
    write(tmp_path / "set/masks/d0.png", 2 * np.minimum(MARK, 1))
    status = main(["data", "check", str(tmp_path / "set"), "--out", str(tmp_path / "a.html")])
    assert status == 2
    assert "the masks hold 2 (1 masks), 255 (2 masks)" in capsys.readouterr().err

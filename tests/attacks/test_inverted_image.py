"""Inverted and otherwise manipulated images of defective parts: the gate, fitted by training, reviews them.

The model of these tests sees dark defects only, so an inverted image of a defective part is good for it.
Parts have a rim darker than their face, as magnetic tiles have.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from app.inspection.bundle.bundle import Bundle
from tests.attacks.callers import inspected
from tests.serving import Serving, serving
from tests.tiny_bundle import png, sha256, write_tiny_bundle
from training.config import GateConfig
from training.files import write_manifest
from training.thresholds.input_gate import Known, with_gates

Image = NDArray[np.uint8]
RIM_PX, GRAIN = 6, 12
DEFECT = (slice(40, 52), slice(20, 34))


def part(seed: int, defective: bool = False) -> Image:
    """One image of a part, [96, 80]: a face with grain, a rim 30 levels darker, perhaps a dark defect."""
    rng = np.random.default_rng(seed)
    levels = np.full((96, 80), 100 + rng.integers(-4, 5))
    levels[RIM_PX:-RIM_PX, RIM_PX:-RIM_PX] += 30 + rng.integers(-3, 4)
    levels += rng.integers(-GRAIN, GRAIN + 1, levels.shape)
    if defective:
        levels[DEFECT] = 10
    return levels.astype(np.uint8)


@pytest.fixture(scope="module")
def learnt_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of parts like these: its golden samples, and its gate fitted to 120 images."""
    directory = write_tiny_bundle(tmp_path_factory.mktemp("learnt") / "parts", classes=("dark",), gate=True)
    manifest = json.loads((directory / "bundle.json").read_text())
    for golden in manifest["golden"]:
        image = part(1000, golden["verdict"] == "fail")
        for file, pixels in ((golden["image"], image), (golden["mask"], np.uint8(image == 10))):
            (directory / file).write_bytes(png(np.asarray(pixels)))
        golden["image_sha256"], golden["mask_sha256"] = (
            sha256(directory / golden[file]) for file in ("image", "mask")
        )
    (directory / "bundle.json").write_text(json.dumps(manifest))
    bundle = Bundle.load(directory)
    known = [Known(str(seed), lambda seed=seed: part(seed, seed % 4 == 0)) for seed in range(120)]  # type: ignore[misc]
    artifacts = tuple(with_gates(bundle, known, [], GateConfig()))
    write_manifest(directory, bundle.model_copy(update={"artifacts": artifacts}))
    return directory


@pytest.fixture(scope="module")
def box(learnt_dir: Path) -> Iterator[Serving]:
    with serving(learnt_dir, threads=1) as service:
        yield service


def answered(service: Serving, image: Image) -> tuple[str, list[str]]:
    """The verdict and the rules of its reasons."""
    status, body, _ = inspected(service.port, png(image))
    assert status == 200, body
    answer: dict[str, Any] = json.loads(body)
    return answer["verdict"], [reason["rule"] for reason in answer["reasons"]]


def inverted(image: Image) -> Image:
    return np.asarray(255 - image, np.uint8)


def test_an_ordinary_image_is_inspected_as_ever(box: Serving) -> None:
    for seed in range(2000, 2010):
        assert answered(box, part(seed)) == ("pass", [])
        assert answered(box, part(seed, defective=True)) == ("fail", ["max_count"])


def test_an_inverted_image_is_reviewed(box: Serving) -> None:
    for seed in range(2000, 2010):
        verdict, rules = answered(box, inverted(part(seed, defective=True)))
        assert verdict == "review"
        assert "polarity" in rules


def test_without_the_check_it_would_pass(learnt_dir: Path, tmp_path: Path) -> None:
    for file in learnt_dir.rglob("*"):
        if file.is_file():
            copy = tmp_path / file.relative_to(learnt_dir)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(file.read_bytes())
    manifest = json.loads((tmp_path / "bundle.json").read_text())
    gate = manifest["artifacts"][0]["gate"]
    gate["checks"] = [check for check in gate["checks"] if check["score"] != "border_contrast"]
    (tmp_path / "bundle.json").write_text(json.dumps(manifest))
    with serving(tmp_path, threads=1) as service:
        assert answered(service, inverted(part(2000, defective=True))) == ("pass", [])


def noisy(image: Image) -> Image:
    noise = np.random.default_rng(1).normal(0, 25, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def noise_alone(image: Image) -> Image:
    return noisy(np.full_like(image, 128))


def solarised(image: Image) -> Image:
    """Levels above half of the face's are inverted, so that the face is darker than the rim."""
    return np.where(image < 110, image, 220 - image).astype(np.uint8)


def denoised(image: Image) -> Image:
    return np.asarray(cv2.medianBlur(image, 7), np.uint8)


def gamma(image: Image) -> Image:
    return np.asarray(255 * (image / 255.0) ** 0.4, np.uint8)


@pytest.mark.parametrize(
    ("manipulate", "rule"),
    [
        (noisy, "grain"),
        (noise_alone, "grain"),
        (solarised, "polarity"),
        (denoised, "blur"),
        (gamma, "exposure"),
    ],
)
def test_other_manipulations_are_reviewed(
    box: Serving, manipulate: Callable[[Image], Image], rule: str
) -> None:
    verdict, rules = answered(box, manipulate(part(2000, defective=True)))
    assert verdict == "review"
    assert rule in rules


@pytest.mark.parametrize("turn", [np.fliplr, np.flipud, lambda image: np.rot90(image, 2)])
def test_a_mirrored_or_turned_image_is_inspected_as_it_is(
    box: Serving, turn: Callable[[Image], Image]
) -> None:
    """No check sees these, and none has to: the defect is still found."""
    assert answered(box, turn(part(2000, defective=True))) == ("fail", ["max_count"])
    assert answered(box, turn(part(2000))) == ("pass", [])

"""Publishing: golden samples, model card, self-test, and the copy into the models folder."""

import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.bundle import Bundle, GoldenSample
from app.inspection.inspector import Inspector
from training.bundle_files import write_manifest
from training.datasets.generated import CLASSES, generate_tile
from training.model_card import model_card

GOLDEN_SIZE = (240, 320)
GOLDEN_SEED = 700_000  # far from the seeds of training and evaluation
GOLDEN_TRIES = 40
# The first of each verdict is what the service offers to try: a cracked and a clean tile.
GOLDEN_KINDS = {"crack": "crack", "good": None} | {name: name for name in CLASSES} | {"good-2": None}


class PublishError(RuntimeError):
    """The bundle is not fit to be published."""


def add_golden(directory: Path) -> dict[str, int]:
    """Add one generated picture per defect class and two good ones that the bundle judges rightly.

    They pin the bundle's answers down for the self-test and measure nothing. Returns how many pictures
    were tried for each; raises PublishError where none of GOLDEN_TRIES came out right.
    """
    inspector = Inspector.load(directory, device="cpu")
    (directory / "golden").mkdir(exist_ok=True)
    samples, tried = [], {}
    for place, (name, defect_class) in enumerate(GOLDEN_KINDS.items()):
        sample, tried[name] = _golden(inspector, directory, name, defect_class, GOLDEN_SEED + place * 1000)
        samples.append(sample)
    manifest = Bundle.load(directory).model_copy(update={"golden": tuple(samples)})
    write_manifest(directory, manifest)
    return tried


def publish(directory: Path, models: Path, replace: bool) -> Path:
    """Self-test the bundle, write its model card and copy it to `models/NAME/VERSION`; return that path.

    Raises PublishError where that version exists (and `replace` is not set) or figures are missing;
    SelfTestFailed where the bundle does not reproduce its golden samples.
    """
    bundle = Bundle.load(directory)
    evaluation = directory / "evaluation.json"
    if not evaluation.exists() or not bundle.golden:
        raise PublishError(f"{directory} has no evaluation or golden samples yet; run those stages first")
    target = models / bundle.name / bundle.version
    if target.exists() and not replace:
        raise PublishError(f"{target} is published; raise the version, or give --replace to overwrite it")
    Inspector.load(directory, device="cpu").self_test()
    comparison = directory / "evaluation-by-picture.json"
    (directory / "MODEL_CARD.md").write_text(
        model_card(
            bundle,
            json.loads(evaluation.read_text()),
            json.loads(comparison.read_text()) if comparison.exists() else None,
        )
    )
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(directory, target)
    return target


def _golden(
    inspector: Inspector, directory: Path, name: str, defect_class: str | None, seed: int
) -> tuple[GoldenSample, int]:
    for attempt in range(GOLDEN_TRIES):
        pixels, truth = generate_tile(seed + attempt, defect_class, GOLDEN_SIZE)
        data = _png(pixels)
        inspection = inspector.inspect(data)
        right = inspection.verdict == ("pass" if defect_class is None else "fail")
        found = {defect.defect_class for defect in inspection.defects}
        if right and found == ({defect_class} if defect_class else set()):
            image = _write(directory, f"golden/{name}.png", data)
            mask = _write(directory, f"golden/{name}.mask.png", _png(inspection.label_map))
            _write(directory, f"golden/{name}.truth.png", _png(truth))
            sample = GoldenSample(
                image=image[0],
                image_sha256=image[1],
                mask=mask[0],
                mask_sha256=mask[1],
                verdict=inspection.verdict,
                image_probability=inspection.image_probability,
            )
            return sample, attempt + 1
    raise PublishError(
        f"no generated {name} picture of {GOLDEN_TRIES} was judged rightly; the model is not fit"
    )


def _png(pixels: NDArray[np.uint8]) -> bytes:
    ok, data = cv2.imencode(".png", pixels)
    assert ok
    return data.tobytes()


def _write(directory: Path, file: str, data: bytes) -> tuple[str, str]:
    (directory / file).write_bytes(data)
    return file, hashlib.sha256(data).hexdigest()

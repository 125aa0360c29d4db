"""Publishing: golden samples, model card, self-test, and the copy into the models folder."""

import hashlib
import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.bundle import Bundle, GoldenSample
from app.inspection.decode import decode
from app.inspection.inspector import Inspector
from app.inspection.mask import to_label_map
from app.inspection.mask_metrics import label_iou
from app.inspection.results import Inspection
from training.bundle_files import read_json, write_manifest, write_text, written_whole
from training.config import ConfigError
from training.datasets.generated import CLASSES, generate_tile
from training.model_card import model_card

COMPARISON = "evaluation-by-picture.json"
GOLDEN_SIZE = (240, 320)
GOLDEN_SEED = 700_000  # far from the seeds of training and evaluation
GOLDEN_TRIES = 60
PIXEL_SHIFT = 0.01  # of the pixel threshold: between two and three levels of 255
# The first of each verdict is what the service offers to try: a cracked and a clean tile.
GOLDEN_KINDS = {"crack": "crack", "good": None} | {name: name for name in CLASSES} | {"good-2": None}


class PublishError(RuntimeError):
    """The bundle is not fit to be published."""


def add_golden(directory: Path, right: bool = True) -> dict[str, int]:
    """Add one generated picture per defect class and two good ones, all judged rightly and surely.

    They pin the bundle's answers down for the self-test and measure nothing, so they lie away from the
    thresholds, where another processor's rounding could turn them. Without `right` any answer will do.
    Returns how many pictures were tried for each; raises PublishError where none of GOLDEN_TRIES will do.
    """
    inspector = Inspector.load(directory, device="cpu")
    (directory / "golden").mkdir(exist_ok=True)
    samples, tried = [], {}
    for place, (name, defect_class) in enumerate(GOLDEN_KINDS.items()):
        seed = GOLDEN_SEED + place * 1000
        picture, inspection, tried[name] = _golden(inspector, defect_class, seed, right)
        sample = _sample(directory, name, picture, inspection)
        samples.append(sample)
    manifest = Bundle.load(directory).model_copy(update={"golden": tuple(samples)})
    write_manifest(directory, manifest)
    return tried


def check_comparison(run_directory: Path) -> Path:
    """Return the figures of a run split by picture; raises ConfigError for any other run."""
    evaluation = run_directory / "bundle/evaluation.json"
    if not evaluation.is_file():
        raise ConfigError(f"{evaluation} is missing; --comparison takes the folder of an evaluated run")
    if read_json(evaluation)["split"]["by"] != "picture":
        raise ConfigError(f"{evaluation} is not of a run split by picture; only such a run is a comparison")
    return evaluation


def check_target(models: Path, name: str, version: str, replace: bool) -> Path:
    """Return where the version is published; raises PublishError if it is there and not to be replaced."""
    target = models / name / version
    if target.exists() and not replace:
        raise PublishError(f"{target} is published; raise the version, or give --replace to overwrite it")
    return target


def set_comparison(directory: Path, run_directory: Path | None) -> None:
    """Put the figures of a run split by picture beside the bundle's own, or take them out where None."""
    if run_directory is None:
        (directory / COMPARISON).unlink(missing_ok=True)
        return
    evaluation = check_comparison(run_directory)
    with written_whole(directory / COMPARISON) as partial:
        shutil.copyfile(evaluation, partial)


def publish(directory: Path, models: Path, replace: bool) -> Path:
    """Self-test the bundle, write its model card and copy it to `models/NAME/VERSION`; return that path.

    Raises PublishError where that version exists (and `replace` is not set) or figures are missing;
    SelfTestFailed where the bundle does not reproduce its golden samples.
    """
    bundle = Bundle.load(directory)
    evaluation = directory / "evaluation.json"
    if not evaluation.exists() or not bundle.golden:
        raise PublishError(f"{directory} has no evaluation or golden samples yet; run those stages first")
    target = check_target(models, bundle.name, bundle.version, replace)
    Inspector.load(directory, device="cpu").self_test()
    comparison = directory / COMPARISON
    beside = read_json(comparison) if comparison.exists() else None
    write_text(directory / "MODEL_CARD.md", model_card(bundle, read_json(evaluation), beside))
    _copy(directory, target)
    return target


def _copy(directory: Path, target: Path) -> None:
    """Copy the bundle in one step as seen from outside; what it replaces goes only when the new one is in."""
    partial, old = (target.with_name(f".{target.name}.{kind}") for kind in ("partial", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(directory, partial)  # a killed copy must not look like a bundle
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    partial.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _golden(
    inspector: Inspector, defect_class: str | None, seed: int, right: bool
) -> tuple[bytes, Inspection, int]:
    """The first generated picture that will do, its inspection, and how many were tried."""
    for attempt in range(GOLDEN_TRIES):
        picture = _png(generate_tile(seed + attempt, defect_class, GOLDEN_SIZE)[0])
        inspection = inspector.inspect(picture)
        if not right or (_is_right(inspection, defect_class) and _is_sure(inspector, picture, inspection)):
            return picture, inspection, attempt + 1
    what = defect_class or "good"
    raise PublishError(
        f"no generated {what} picture of {GOLDEN_TRIES} was judged rightly; the model is not fit"
    )


def _is_right(inspection: Inspection, defect_class: str | None) -> bool:
    """Whether the verdict is right and, of a defect, most of its pixels have the right class."""
    if defect_class is None:
        return inspection.verdict == "pass"
    area: Counter[str] = Counter()
    for defect in inspection.defects:
        area[defect.defect_class] += defect.area_px
    return inspection.verdict == "fail" and area.most_common(1)[0][0] == defect_class


def _is_sure(inspector: Inspector, picture: bytes, inspection: Inspection) -> bool:
    """Whether head and mask would stay as they are if probabilities moved by twice what may be missed."""
    tolerance = inspector.bundle.golden_tolerance
    distance = abs(inspection.image_probability - inspection.image_threshold)
    if distance < 2 * tolerance.max_image_probability_difference:
        return False
    point = inspector.session.artifact.operating_point
    prediction = inspector.predict(decode(picture, inspector.limits))
    for shift in (-PIXEL_SHIFT, PIXEL_SHIFT):
        moved = point.model_copy(update={"pixel_threshold": point.pixel_threshold + shift})
        label_map = to_label_map(prediction.probability, prediction.image_probability, moved)
        if label_iou(label_map, inspection.label_map) < (1 + tolerance.min_mask_iou) / 2:
            return False
    return True


def _sample(directory: Path, name: str, picture: bytes, inspection: Inspection) -> GoldenSample:
    image, image_sha256 = _write(directory, f"golden/{name}.png", picture)
    mask, mask_sha256 = _write(directory, f"golden/{name}.mask.png", _png(inspection.label_map))
    return GoldenSample(
        image=image,
        image_sha256=image_sha256,
        mask=mask,
        mask_sha256=mask_sha256,
        verdict=inspection.verdict,
        image_probability=inspection.image_probability,
    )


def _png(pixels: NDArray[np.uint8]) -> bytes:
    ok, data = cv2.imencode(".png", pixels)
    assert ok
    return data.tobytes()


def _write(directory: Path, file: str, data: bytes) -> tuple[str, str]:
    (directory / file).write_bytes(data)
    return file, hashlib.sha256(data).hexdigest()

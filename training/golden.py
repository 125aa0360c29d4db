"""Golden samples: pictures whose answers a bundle must reproduce wherever it is loaded."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
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
from training.bundle_files import write_manifest
from training.datasets.sample import Sample
from training.generators import Generator
from training.publish import PublishError

SIZE = (240, 320)
SEED = 700_000  # far from the seeds of training and evaluation
TRIES = 60
PIXEL_SHIFT = 0.01  # of the pixel threshold: between two and three levels of 255
GOOD = ("good", "good-2")
_SEVERITIES = ("critical", "major", "minor")


def add_golden(
    directory: Path, generator: Generator | None, samples: Sequence[Sample], right: bool = True
) -> dict[str, int]:
    """Add a picture per defect class, the most severe first, and two good ones, judged rightly and surely.

    They are generated, or `samples` of the set itself where there is no generator. They pin the bundle's
    answers down for the self-test and measure nothing, so they lie away from the thresholds, where another
    processor's rounding could turn them. Without `right` any answer will do. Returns how many pictures were
    tried for each; a class of which none of TRIES will do gets none. Raises PublishError where no defective
    or no good picture is judged rightly: such a model is not fit.
    """
    inspector = Inspector.load(directory, device="cpu")
    (directory / "golden").mkdir(exist_ok=True)
    found, tried = [], {}
    for place, (name, number) in enumerate(_kinds(inspector.bundle)):
        candidates = (
            _generated(generator, number, place)
            if generator
            else _own(samples, inspector.bundle, number, name)
        )
        tried[name] = 0
        for picture in candidates:
            tried[name] += 1
            inspection = inspector.inspect(picture)
            if not right or (_is_right(inspection, number) and _is_sure(inspector, picture, inspection)):
                found.append(_sample(directory, name, picture, inspection))
                break
    if right and {sample.verdict for sample in found} != {"pass", "fail"}:
        raise PublishError(
            f"of {tried} pictures none with a defect, or none without, was right: the model is not fit"
        )
    write_manifest(directory, Bundle.load(directory).model_copy(update={"golden": tuple(found)}))
    return tried


def _kinds(bundle: Bundle) -> list[tuple[str, int | None]]:
    """Name and class number of each golden sample wanted; users try the first of each verdict first."""
    numbered = sorted(
        enumerate(bundle.classes, start=1), key=lambda pair: _SEVERITIES.index(pair[1].severity)
    )
    defects: list[tuple[str, int | None]] = [(each.name, number) for number, each in numbered]
    return [*defects, *((name, None) for name in GOOD)]


def _generated(generator: Generator, number: int | None, place: int) -> Iterator[bytes]:
    """Pictures of the generator's classes that the set counts under this number; none if it has no such."""
    names = [name for name, each in generator.numbers.items() if each == number] if number else [None]
    for attempt in range(TRIES if names else 0):
        name = names[attempt % len(names)]
        yield _png(generator.picture(SEED + place * 1000 + attempt, name, SIZE)[0])


def _own(samples: Sequence[Sample], bundle: Bundle, number: int | None, name: str) -> Iterator[bytes]:
    """Pictures of the set itself that show this class alone, or no defect, each good one offered once."""
    wanted = "good" if number is None else bundle.classes[number - 1].name
    fitting = [sample for sample in samples if sample.picture_class == wanted]
    start = 0 if number is not None else GOOD.index(name)
    for sample in fitting[start :: 1 if number is not None else len(GOOD)][:TRIES]:
        yield _png(sample.pixels())


def _is_right(inspection: Inspection, number: int | None) -> bool:
    """Whether the verdict is right and, of a defect, most of its pixels have the right class."""
    if number is None:
        return inspection.verdict == "pass"
    area: Counter[str] = Counter()
    for defect in inspection.defects:
        area[defect.defect_class] += defect.area_px
    most = area.most_common(1)
    return inspection.verdict == "fail" and most[0][0] == inspection.classes[number - 1]


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

"""Golden samples: images whose answers a bundle must reproduce on every machine."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from app.inspection.bundle.artifact import Gate
from app.inspection.bundle.bundle import Bundle
from app.inspection.bundle.golden import GoldenAnswer, GoldenSample, GoldenSetting
from app.inspection.bundle.self_test import feature_distance, fingerprints, main_class, mean_levels
from app.inspection.inspector import Inspector
from app.inspection.mask_metrics import label_iou
from app.inspection.measuring.defect_regions import form_regions, keep_defects
from app.inspection.measuring.mask import marks_of
from app.inspection.results import Inspection, Seen
from training.bundle.publish import PublishError
from training.data.generators import Generator
from training.data.sample import Sample
from training.files import write_manifest
from training.sessions import inspector_of

SIZE = (240, 320)
SEED = 700_000  # far from the seeds of training and evaluation
TRIES = 200
GATE_MARGIN = 0.05  # relative distance of a golden sample's scores from the gate's limits
PIXEL_SHIFT = 0.01  # shift of the pixel threshold: between two and three levels of 255
GOOD = ("good", "good-2")
_SEVERITIES = ("critical", "major", "minor")


def add_golden(
    directory: Path, generator: Generator | None, samples: Sequence[Sample], right: bool = True
) -> dict[str, int]:
    """Add an image of each defect class, the most severe first, and two good images.

    Each is inspected correctly by every artifact, with a margin to each threshold, because another
    processor's rounding could change an answer at a threshold. The answers of each artifact are stored. The
    images are generated or, without a generator, taken from `samples`. They serve the self-test only and
    measure nothing. With `right` False, any answer is accepted. Returns how many images were tried for each;
    a class gets no sample if none of TRIES images is suitable. Raises PublishError if there is no suitable
    defective image or no suitable good one: such a model is not fit.
    """
    bundle = Bundle.load(directory)
    inspectors = [inspector_of(bundle, artifact) for artifact in bundle.artifacts]
    (directory / "golden").mkdir(exist_ok=True)
    found, tried = [], {}
    for place, (name, number) in enumerate(_kinds(bundle)):
        candidates = (
            _generated(generator, number, place) if generator else _own(samples, bundle, number, name)
        )
        tried[name] = 0
        for content in candidates:
            tried[name] += 1
            if not right or all(_is_answer(inspector, content, number) for inspector in inspectors):
                found.append(_sample(directory, name, content, inspectors[0].inspect(content)))
                break
    if right and {sample.verdict for sample in found} != {"pass", "fail"}:
        raise PublishError(
            f"of {tried} images, no defective or no good one was inspected correctly: the model is not fit"
        )
    origin: Literal["generated", "own"] = "generated" if generator else "own"
    golden = {"golden": tuple(found), "golden_origin": origin}
    write_manifest(directory, answered(bundle.model_copy(update=golden)))
    return tried


def _kinds(bundle: Bundle) -> list[tuple[str, int | None]]:
    """Name and class number of each wanted golden sample; users try the first of each verdict first."""
    numbered = sorted(
        enumerate(bundle.classes, start=1), key=lambda pair: _SEVERITIES.index(pair[1].severity)
    )
    defects: list[tuple[str, int | None]] = [(each.name, number) for number, each in numbered]
    return [*defects, *((name, None) for name in GOOD)]


def _generated(generator: Generator, number: int | None, place: int) -> Iterator[bytes]:
    """Images of the generator's classes with this number; none if it has no such class."""
    names = [name for name, each in generator.numbers.items() if each == number] if number else [None]
    for attempt in range(TRIES if names else 0):
        name = names[attempt % len(names)]
        yield _png(generator.picture(SEED + place * 1000 + attempt, name, SIZE)[0])


def _own(samples: Sequence[Sample], bundle: Bundle, number: int | None, name: str) -> Iterator[bytes]:
    """Images of the data set with this class only, or good ones; each good image is offered once."""
    wanted = "good" if number is None else bundle.classes[number - 1].name
    fitting = [sample for sample in samples if sample.picture_class == wanted]
    start = 0 if number is not None else GOOD.index(name)
    for sample in fitting[start :: 1 if number is not None else len(GOOD)][:TRIES]:
        yield _png(sample.pixels())


def _is_answer(inspector: Inspector, content: bytes, number: int | None) -> bool:
    seen = inspector.inspect_with_prediction(content)
    return _is_right(seen.inspection, number) and _has_margin(inspector, seen)


def _is_right(inspection: Inspection, number: int | None) -> bool:
    """Whether the verdict is correct and a defect is found as exactly one, with its class."""
    if number is None:
        return inspection.verdict == "pass"
    classes = [each.defect_class for each in inspection.defects]
    return inspection.verdict == "fail" and classes == [inspection.classes[number - 1]]


def _has_margin(inspector: Inspector, seen: Seen) -> bool:
    """Whether verdict and mask stay the same if probabilities change by twice the tolerance.

    The scores must also lie inside the input gate's limits by GATE_MARGIN.
    """
    inspection, prediction, gate = seen.inspection, seen.prediction, inspector.session.artifact.gate
    if gate is not None and not _is_well_inside(gate, inspection.gate_scores or {}):
        return False
    tolerance = inspector.bundle.golden_tolerance
    point = inspector.operating_point(inspector.bundle.default_recipe)
    margin = 2 * tolerance.max_image_probability_difference
    doubt = inspection.unexplained_probability
    if doubt is not None and abs(doubt - point.head_threshold) < margin:
        return False
    marks = marks_of(prediction.probability, point)
    regions = form_regions(marks, seen.pixels, prediction.tiles, point)
    if (np.abs(regions.probability - point.image_threshold) < margin).any():
        return False
    for shift in (-PIXEL_SHIFT, PIXEL_SHIFT):
        moved = point.model_copy(update={"pixel_threshold": point.pixel_threshold + shift})
        marks = marks_of(prediction.probability, moved)
        keep_defects(marks, form_regions(marks, seen.pixels, prediction.tiles, moved), moved)
        if label_iou(marks.label_map, inspection.label_map) < (1 + tolerance.min_mask_iou) / 2:
            return False
    return True


def _is_well_inside(gate: Gate, scores: Mapping[str, float]) -> bool:
    return all(
        (check.low is None or scores[check.score] >= check.low + GATE_MARGIN * abs(check.low))
        and (check.high is None or scores[check.score] <= check.high - GATE_MARGIN * abs(check.high))
        for check in gate.checks
    )


def answered(bundle: Bundle) -> Bundle:
    """Return the bundle with the answers of each artifact for its golden samples; writes the masks.

    Call it after a change of thresholds or graphs. It does not write the manifest.
    """
    inspectors = [inspector_of(bundle, artifact) for artifact in bundle.artifacts]
    golden = tuple(_answered(sample, inspectors) for sample in bundle.golden)
    settings = tuple(map(_setting, inspectors))
    return bundle.model_copy(update={"golden": golden, "golden_settings": settings})


def _sample(directory: Path, name: str, content: bytes, inspection: Inspection) -> GoldenSample:
    image, image_sha256 = _write(directory, f"golden/{name}.png", content)
    mask, mask_sha256 = _write(directory, f"golden/{name}.mask.png", _png(inspection.label_map))
    return GoldenSample(
        image=image,
        image_sha256=image_sha256,
        mask=mask,
        mask_sha256=mask_sha256,
        verdict=inspection.verdict,
        image_probability=inspection.image_probability,
    )


def _answered(sample: GoldenSample, inspectors: Sequence[Inspector]) -> GoldenSample:
    content = inspectors[0].bundle.read(sample.image)
    answers = tuple(_answer(Path(sample.image), content, inspector) for inspector in inspectors)
    first = answers[0].model_dump(include={"mask", "mask_sha256", "verdict", "image_probability"})
    return sample.model_copy(update=first | {"answers": answers})


def _answer(image: Path, content: bytes, inspector: Inspector) -> GoldenAnswer:
    """The answer of one artifact; the mask of fp32 is also the one shown to users."""
    artifact, directory = inspector.session.artifact.name, inspector.bundle.directory
    seen = inspector.inspect_with_prediction(content)
    inspection = seen.inspection
    kind = ".mask.png" if artifact == "fp32" else f".{artifact}.mask.png"
    mask, mask_sha256 = _write(directory, str(image.with_suffix(kind)), _png(inspection.label_map))
    return GoldenAnswer(
        artifact=artifact,
        mask=mask,
        mask_sha256=mask_sha256,
        verdict=inspection.verdict,
        image_probability=inspection.image_probability,
        main_class=main_class(inspection.defects),
        mean_levels=mean_levels(seen.prediction.probability),
        feature_distance=feature_distance(inspection),
    )


def _setting(inspector: Inspector) -> GoldenSetting:
    artifact = inspector.session.artifact
    thresholds = artifact.operating_point.model_dump(
        include={"image_threshold", "pixel_threshold", "min_area_px"}
    )
    provider = inspector.session.execution_provider
    where = {"artifact": artifact.name, "execution_provider": provider}
    return GoldenSetting.model_validate(where | thresholds | fingerprints(inspector.bundle, artifact))


def _png(pixels: NDArray[np.uint8]) -> bytes:
    ok, data = cv2.imencode(".png", pixels)
    assert ok
    return data.tobytes()


def _write(directory: Path, file: str, data: bytes) -> tuple[str, str]:
    (directory / file).write_bytes(data)
    return file, hashlib.sha256(data).hexdigest()

"""Comparison of golden samples' answers with those the bundle was published with."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from app.inspection.bundle.artifact import Artifact
from app.inspection.bundle.bundle import Bundle
from app.inspection.bundle.golden import GoldenAnswer, GoldenSample, GoldenTolerance, fingerprint
from app.inspection.decoding.decode import decode_reference_mask
from app.inspection.errors import SelfTestFailed
from app.inspection.mask_metrics import label_iou
from app.inspection.results import Defect, Inspection, Seen

CELLS = 4  # per side: a mean over the image would hide one wrong weight; single pixels vary by rounding
NOTHING = "no defect"


def mean_levels(probability: NDArray[np.uint8]) -> tuple[tuple[float, ...], ...]:
    """The mean level of each class in CELLS x CELLS cells, row by row; takes uint8 [K, H, W].

    They show changes that cross no threshold, which masks and verdicts hide.
    """
    rows, columns = (np.linspace(0, side, CELLS + 1).astype(int).tolist() for side in probability.shape[1:])
    cells = [(slice(*y), slice(*x)) for y in pairwise(rows) for x in pairwise(columns)]
    return tuple(tuple(round(float(each[cell].mean()), 3) for cell in cells) for each in probability)


def main_class(defects: Sequence[Defect]) -> str | None:
    """The class with the largest area, None without a defect; ignores specks of other classes."""
    area: Counter[str] = Counter()
    for defect in defects:
        area[defect.defect_class] += defect.area_px
    return area.most_common(1)[0][0] if area else None


def check_verdicts(bundle: Bundle, artifact: Artifact) -> None:
    """Raise SelfTestFailed unless the artifact must fail one golden sample and pass another.

    Else the self-test could not tell it from a graph that always gives the same answer.
    """
    answers = [sample.answer(artifact.name) or sample for sample in bundle.golden]
    missing = [each for each in ("fail", "pass") if each not in {answer.verdict for answer in answers}]
    if missing:
        raise SelfTestFailed(
            f"no golden sample has the verdict {' or '.join(missing)}; at least one must fail and one pass"
        )


def setting_differences(bundle: Bundle, artifact: Artifact) -> Iterator[str]:
    """Describe each setting in force that differs from that of the artifact's golden answers."""
    setting = bundle.golden_setting(artifact.name)
    if setting is None:
        return
    for name in ("image_threshold", "pixel_threshold", "min_area_px"):
        found, expected = (getattr(each, name) for each in (artifact.operating_point, setting))
        if found != expected:
            yield f"{name} {found:g} is in force, but the golden samples were made with {expected:g}"
    for name, found in fingerprints(bundle, artifact).items():
        if found != getattr(setting, name):
            yield f"the {_WORDS[name]} in force is not what the golden samples were made with"


_WORDS = {
    "operating_point_sha256": "operating point, with its trade-off, expected rates and Dice interval,",
    "calibration_sha256": "probability calibration",
    "gate_sha256": "input gate",
    "classes_sha256": "list of classes and severities",
    "input_sha256": "input contract",
}


def fingerprints(bundle: Bundle, artifact: Artifact) -> dict[str, str]:
    """The fingerprints in force, by their field names in GoldenSetting."""
    return {
        "operating_point_sha256": fingerprint(artifact.operating_point),
        "calibration_sha256": fingerprint(artifact.calibration),
        "gate_sha256": fingerprint(artifact.gate),
        "classes_sha256": fingerprint(*bundle.classes),
        "input_sha256": fingerprint(bundle.input),
    }


def differences(bundle: Bundle, sample: GoldenSample, seen: Seen, by: tuple[Artifact, str]) -> Iterator[str]:
    """Describe each difference of a golden sample's inspection that exceeds the tolerance.

    `by` is the artifact and the execution provider of the inspection. Raises a PasslineError for a
    broken mask.
    """
    (artifact, provider), found = by, seen.inspection
    answer = sample.answer(artifact.name)
    tolerance = tolerance_of(bundle, artifact, provider)
    mask = bundle.read(sample.mask if answer is None else answer.mask)
    expected, _ = decode_reference_mask(mask, found.label_map.shape, len(bundle.classes))
    at_least = sample if answer is None else answer
    if found.verdict != at_least.verdict:
        yield f"verdict {found.verdict}, not {at_least.verdict}"
    overlap = label_iou(found.label_map, expected)
    if overlap < tolerance.min_mask_iou:
        confusion = _confusion(found.label_map, expected, (NOTHING, *bundle.class_names))
        yield f"mask IoU {overlap:.3f}, below {tolerance.min_mask_iou}: {confusion}"
    off = abs(found.image_probability - at_least.image_probability)
    if off > tolerance.max_image_probability_difference:
        yield (
            f"image_probability off by {off:.3f}: {found.image_probability:.3f}, "
            f"not {at_least.image_probability:.3f}"
        )
    if answer is not None:
        yield from _beyond_the_mask(answer, seen, tolerance)


def tolerance_of(bundle: Bundle, artifact: Artifact, provider: str) -> GoldenTolerance:
    """The tolerance in force: a tight one for fp32 on the provider that gave the answers."""
    setting = bundle.golden_setting(artifact.name)
    at_home = setting is not None and setting.execution_provider == provider and artifact.name == "fp32"
    return bundle.golden_tolerance_at_home if at_home else bundle.golden_tolerance


def _beyond_the_mask(answer: GoldenAnswer, seen: Seen, tolerance: GoldenTolerance) -> Iterator[str]:
    """Differences that the mask does not show: main class, mean levels, the gate's feature distance."""
    found, name = seen.inspection, main_class(seen.inspection.defects)
    if name != answer.main_class:
        yield f"its main class is {name or NOTHING}, not {answer.main_class or NOTHING}"
    shift = np.abs(np.subtract(mean_levels(seen.prediction.probability), answer.mean_levels))
    if shift.max() > tolerance.max_level_difference:
        k, cell = np.unravel_index(shift.argmax(), shift.shape)
        yield (
            f"probability of {found.classes[k]} off by {shift.max():.2f} levels of 255 on average in row "
            f"{cell // CELLS + 1}, column {cell % CELLS + 1} of {CELLS} x {CELLS} cells"
        )
    distance, expected = feature_distance(found), answer.feature_distance
    if distance is None or expected is None:
        return
    if abs(distance - expected) > tolerance.max_relative_feature_difference * expected:
        yield f"the input gate's feature distance is {distance:.3f}, not {expected:.3f}"


def feature_distance(inspection: Inspection) -> float | None:
    """The input gate's feature distance of an image; None without a gate."""
    return None if inspection.gate_scores is None else inspection.gate_scores.get("feature_distance")


def _confusion(found: NDArray[np.uint8], expected: NDArray[np.uint8], names: Sequence[str]) -> str:
    """The most frequent way in which two label maps differ, in words."""
    wrong = found != expected
    pairs = expected[wrong].astype(np.int64) * len(names) + found[wrong]
    was, is_now = divmod(int(np.bincount(pairs).argmax()), len(names))
    return f"mostly {names[is_now]} where {names[was]} is expected"

"""Measures the input gate: detection of changed images and other products, and false alarms."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from sklearn.metrics import roc_auc_score

from app.inspection.bundle.artifact import Artifact, Gate, GateScore
from app.inspection.bundle.bundle import Bundle
from app.inspection.input_gate import InputGate, picture_scores
from app.inspection.results import Looked
from training.data.sample import Pixels, Sample
from training.data.synthesis.generator import generate_surface
from training.data.synthesis.tiles import generate_tile
from training.evaluation.changes import BEYOND, CHANGES
from training.evaluation.figures import rate
from training.statistics import Figures
from training.thresholds.input_gate import FeatureGraph, evenly

IMAGES = 60  # images per change and per other product
OTHER_SEED = 800_000  # far from the seeds of training, evaluation and golden samples
# The changes that the gate should detect, with the score that should respond and its direction: 1 up, -1
# down, 0 either way.
DETECTED: dict[str, tuple[GateScore, int]] = {
    "gaussian blur": ("sharpness", -1),
    "motion blur": ("sharpness", -1),
    "under-exposure": ("brightness", -1),
    "over-exposure": ("brightness", 1),
    "noise": ("grain", 1),
    "inverted": ("border_contrast", 0),
}
OTHER_PRODUCT: tuple[GateScore, int] = ("feature_distance", 1)


def gate_figures(
    bundle: Bundle,
    artifact: Artifact,
    samples: Sequence[Sample],
    others: Mapping[str, Iterable[Pixels]],
    confidence: float = 0.95,
) -> Figures:
    """The false alarms of an artifact's gate on a data set, and its detection of changes and other products.

    AUROC is that of the score that should respond, against all unchanged images, also if the gate does not
    check that score. `stopped` is the share of images that any check stops. At most IMAGES images are
    changed. The artifact must have a gate.
    """
    assert artifact.gate is not None
    look = _looker(bundle, artifact, artifact.gate)
    ordinary = [look(sample.pixels()) for sample in samples]
    rows = []
    taken = [sample.pixels() for sample in evenly(samples, IMAGES)]
    for change in (*CHANGES, *BEYOND):
        for strength in change.strengths if change.name in DETECTED else ():
            found = [look(change.apply(pixels, None, strength)[0]) for pixels in taken]
            named = {"change": change.name, "unit": change.unit, "strength": strength}
            rows.append(named | _row(ordinary, found, DETECTED[change.name]))
    products = [
        {"product": name} | _row(ordinary, [look(pixels) for pixels in pictures], OTHER_PRODUCT)
        for name, pictures in others.items()
    ]
    stopped = [each for each in ordinary if each.reasons]
    return {
        "pictures": len(ordinary),
        "expected_false_alarm_rate": artifact.gate.false_alarm_rate,
        "false_alarm_rate": rate(len(stopped), len(ordinary), confidence),
        "false_alarms_by_rule": dict(Counter(rule for each in stopped for rule in _rules(each))),
        "changes": rows,
        "other_products": products,
    }


def generated_products(but: str | None) -> dict[str, Iterable[Pixels]]:
    """Generated images as another product; not of the kind `but`, which the model was trained with."""
    kinds: dict[str, tuple[str, Callable[[int], Pixels]]] = {
        "surfaces": ("generated surfaces", lambda seed: generate_surface(seed, None, size=(256, 256))[0]),
        "tiles": ("generated tiles", lambda seed: generate_tile(seed, None, None)[0]),
    }
    name, make = kinds["tiles" if but == "surfaces" else "surfaces"]
    return {name: [make(OTHER_SEED + index) for index in range(IMAGES)]}


def product_images(samples: Sequence[Sample]) -> Iterable[Pixels]:
    """At most IMAGES images of another product's data set."""
    return (sample.pixels() for sample in evenly(samples, IMAGES))


def _looker(bundle: Bundle, artifact: Artifact, gate: Gate) -> Callable[[Pixels], Looked]:
    """A function that checks an image like the service, without an inspection, and returns all scores."""
    checks = InputGate(bundle, gate)
    graph = FeatureGraph(bundle.read(artifact.file), bundle.input)

    def look(pixels: Pixels) -> Looked:
        of_pixels = picture_scores(pixels)
        looked = checks.check(of_pixels, graph.features(pixels))
        scores: dict[str, float] = dict(looked.scores)
        scores.update({str(name): value for name, value in of_pixels.items()})
        return replace(looked, scores=scores)

    return look


def _row(ordinary: Sequence[Looked], found: Sequence[Looked], detected: tuple[GateScore, int]) -> Figures:
    score, direction = detected
    values = np.array([each.scores[score] for each in (*ordinary, *found)])
    middle = np.median(values[: len(ordinary)])
    values = direction * values if direction else np.abs(values - middle)
    labels = [False] * len(ordinary) + [True] * len(found)
    return {
        "pictures": len(found),
        "score": score,
        "auroc": round(float(roc_auc_score(labels, values)), 4),
        "stopped": round(float(np.mean([bool(each.reasons) for each in found])), 4),
    }


def _rules(looked: Looked) -> set[str]:
    return {reason.rule for reason in looked.reasons}

"""Fits the limits of the input gate to the training images."""

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx.utils import Extractor
from sklearn.covariance import ledoit_wolf
from sklearn.model_selection import GroupKFold

from app.inspection.bundle.artifact import Artifact, Gate, GateCheck, GateScore
from app.inspection.bundle.bundle import Bundle, InputContract
from app.inspection.errors import BundleInvalid
from app.inspection.inference.runtime import CPU
from app.inspection.inference.tiling import cut
from app.inspection.input_gate import FeatureDistribution, picture_scores
from training.config import ConfigError, GateConfig
from training.data.pictures import Pictures
from training.data.sample import Pixels, Sample

FOLDS = 5
MIN_IMAGES, MIN_GROUPS = 10, 2
FEWEST_EXTREMES, MOST_EXTREMES = 10, 50
DECILES = np.arange(0.1, 0.95, 0.1)
# Least distance of a limit from the bulk of the training images, which may all be alike. Its unit is a share,
# standard deviations or, for scores on a logarithmic scale, a fraction of the score.
LEAST_ROOM = {
    "sharpness": 0.05,
    "brightness": 0.05,
    "clipped_share": 0.01,
    "border_contrast": 0.1,
    "grain": 0.05,
    "feature_distance": 0.05,
}
LOWER = ("sharpness", "brightness", "border_contrast")
UPPER = ("brightness", "clipped_share", "border_contrast", "grain", "feature_distance")
LINEAR = ("clipped_share", "border_contrast")
# Smallest value on the logarithmic scale. Noise below one grey level is harmless, and rounding distorts it.
FLOOR = {"grain": 1.0}

Values = NDArray[np.float64]
Features = NDArray[np.float32]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Known:
    """An image to fit the gate to, generated or decoded on demand; the images of a group show one part."""

    group: str
    pixels: Callable[[], Pixels]


@dataclass(frozen=True, eq=False)
class Looks:
    """Scores of n images computed from pixels, float [n] each; features [n, F]; and groups."""

    scores: dict[GateScore, Values]
    features: Features
    groups: list[str]

    def part(self, places: NDArray[np.intp], without: Collection[GateScore] = ()) -> "Looks":
        """Of the images at these places, from 0, all scores but `without`."""
        scores = {name: values[places] for name, values in self.scores.items() if name not in without}
        return Looks(scores, self.features[places], [self.groups[place] for place in places])


@dataclass(frozen=True, eq=False)
class LearntGate:
    """A fitted gate, before it is written to a bundle."""

    checks: tuple[GateCheck, ...]
    distribution: FeatureDistribution
    false_alarm_rate: float
    pictures: int
    groups: int


class FeatureGraph:
    """The part of a bundle's graph that computes the gate's features, at a fraction of the cost."""

    def __init__(self, graph: bytes, contract: InputContract) -> None:
        """Extract it from an ONNX graph; raises BundleInvalid if that has no output `features`."""
        try:
            part = Extractor(onnx.load_model_from_string(graph)).extract_model(["pixels"], ["features"])
        except ValueError as error:  # from Extractor, for a name that it does not know
            raise BundleInvalid(f"the graph gives no features, so it cannot have a gate: {error}") from error
        self._session = ort.InferenceSession(part.SerializeToString(), providers=[CPU])
        self._contract = contract

    def features(self, image: Pixels) -> NDArray[np.float32]:
        """The mean features [F] over an image's tiles, as computed by the service."""
        tiles, _ = cut(image, self._contract)
        each = [self._session.run(["features"], {"pixels": tile[None]})[0] for tile in tiles]
        return np.asarray(np.concatenate(each).mean(axis=0), np.float32)


def training_images(samples: Sequence[Sample], made: Sequence[Pictures], most: int) -> list[Known]:
    """At most `most` images, evenly from the training split and the generated images `made`."""
    real = [Known(sample.group, sample.pixels) for sample in samples]
    drawn = [
        Known(f"made {number} {index}", lambda part=part, index=index: part[index].pixels)  # type: ignore[misc]
        for number, part in enumerate(made)
        for index in range(len(part))
    ]
    return evenly([*real, *drawn], most)


def check_enough(known: Sequence[Known]) -> None:
    """Raise ConfigError if there are too few images to fit a gate to."""
    groups = len({each.group for each in known})
    if len(known) < MIN_IMAGES or groups < MIN_GROUPS:
        raise ConfigError(
            f"an input gate needs {MIN_IMAGES} training images of {MIN_GROUPS} groups, "
            f"not {len(known)} of {groups}; add some, or set gate: null"
        )


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` items, evenly spaced."""
    places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[place] for place in places]


def with_gates(
    bundle: Bundle, known: Sequence[Known], unseen: Sequence[Sample], config: GateConfig
) -> list[Artifact]:
    """Return the bundle's artifacts, each with an input gate fitted to its own features; writes gate files.

    The reference for drift is the `unseen` images, which the network was not fitted to, or the known images
    if those are too few.
    """
    graphs = [FeatureGraph(bundle.read(each.file), bundle.input) for each in bundle.artifacts]
    usual = looks_of(graphs, known)
    fresh = None
    if len(unseen) >= MIN_IMAGES:
        fresh = looks_of(graphs, [Known(sample.group, sample.pixels) for sample in unseen])
    artifacts = []
    for place, artifact in enumerate(bundle.artifacts):
        learnt = learn_gate(usual[place], None if fresh is None else fresh[place], config)
        gate = write_gate(bundle.directory / f"gate.{artifact.name}.npz", learnt)
        artifacts.append(artifact.model_copy(update={"gate": gate}))
    return artifacts


def learn_gate(usual: Looks, fresh: Looks | None, config: GateConfig) -> LearntGate:
    """Set limits that ordinary images exceed at the configured false-alarm rate.

    The rate is divided equally among the limits of the given scores; limits of size get none of it. It is too
    small to be counted, so each tail is modelled as exponential (peaks over threshold). The
    feature distance of an image is measured with the mean and covariance of other groups. The distributions
    for drift are of the `fresh` images if given.
    """
    distribution = distribution_of(usual.features)
    scores = usual.scores | {"feature_distance": _held_out(usual.features, usual.groups)}
    reference = scores
    if fresh is not None:
        distances = np.array([distribution.distance(each) for each in fresh.features])
        reference = fresh.scores | {"feature_distance": distances}
    tails = sum((name in LOWER) + (name in UPPER) for name in scores)
    checks = tuple(_check(name, scores[name], reference[name], config, tails) for name in scores)
    return LearntGate(
        checks, distribution, config.false_alarm_rate, len(usual.groups), len(set(usual.groups))
    )


def looks_of(graphs: Sequence[FeatureGraph], pictures: Sequence[Known]) -> list[Looks]:
    """Scores and features of images for each graph; each image is decoded once."""
    rows: list[dict[GateScore, float]] = []
    features: list[list[NDArray[np.float32]]] = [[] for _ in graphs]
    for each in pictures:
        image = each.pixels()
        rows.append(picture_scores(image))
        for graph, found in zip(graphs, features, strict=True):
            found.append(graph.features(image))
    scores = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    groups = [each.group for each in pictures]
    return [Looks(scores, np.stack(found), groups) for found in features]


def write_gate(file: Path, learnt: LearntGate) -> Gate:
    """Write the file of the feature distribution; return the gate's entry for bundle.json."""
    data = BytesIO()
    np.savez(data, mean=learnt.distribution.mean, whitening=learnt.distribution.whitening)
    file.write_bytes(data.getvalue())
    return Gate(
        checks=learnt.checks,
        false_alarm_rate=learnt.false_alarm_rate,
        pictures=learnt.pictures,
        groups=learnt.groups,
        features=file.name,
        features_sha256=hashlib.sha256(data.getvalue()).hexdigest(),
        feature_count=len(learnt.distribution.mean),
    )


def distribution_of(features: NDArray[np.float32]) -> FeatureDistribution:
    """Mean and whitening of features [n, F].

    The covariance is shrunk (Ledoit and Wolf, 2004) to be invertible. The spread of a feature is at least a
    tenth of the median spread, so that a small change of a nearly constant feature does not outweigh all
    others.
    """
    mean, spread = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    spread = np.maximum(spread, max(0.1 * float(np.median(spread)), 1e-9))
    covariance, _ = ledoit_wolf((features - mean) / spread, assume_centered=True)
    whitening = np.linalg.cholesky(np.linalg.inv(covariance)) / spread[:, None]
    return FeatureDistribution(mean.astype(np.float32), whitening.astype(np.float32))


def tail_limit(values: Values, rate: float, least: float = 0.0) -> float:
    """The limit that a share `rate` of such values exceeds, at least `least` above the bulk.

    An exponential tail is fitted to the mean excess of the largest values: peaks over threshold (Pickands,
    1975) with shape 0.
    """
    extremes = int(np.clip(round(len(values) / 10), FEWEST_EXTREMES, MOST_EXTREMES))
    extremes = min(max(extremes, int(np.ceil(2 * rate * len(values)))), len(values) - 1)
    ordered = np.sort(values)
    start = ordered[-extremes - 1]
    excess = float(np.mean(ordered[-extremes:] - start))
    return float(start + max(excess * np.log(extremes / len(values) / rate), least))


def _held_out(features: NDArray[np.float32], groups: Sequence[str]) -> Values:
    """The distance of each image from the distribution of other groups."""
    distances = np.empty(len(features))
    folds = GroupKFold(min(FOLDS, len(set(groups))))
    for others, own in folds.split(features, groups=groups):
        distribution = distribution_of(features[others])
        distances[own] = [distribution.distance(each) for each in features[own]]
    return distances


def _check(name: GateScore, usual: Values, reference: Values, config: GateConfig, tails: int) -> GateCheck:
    """The limits of one score, and its distribution in the reference images by deciles."""
    low, high = _limits(name, usual, config, tails)
    edges = np.unique([_rounded(each) for each in np.quantile(reference, DECILES)])
    counts = np.bincount(np.searchsorted(edges, reference), minlength=len(edges) + 1)
    return GateCheck(
        score=name,
        low=None if low is None else _rounded(low),
        high=None if high is None else _rounded(high),
        edges=tuple(edges.tolist()),
        shares=tuple((counts / len(reference)).tolist()),
    )


def _limits(
    name: GateScore, values: Values, config: GateConfig, tails: int
) -> tuple[float | None, float | None]:
    if name in ("short_side_px", "long_side_px"):  # sizes are discrete: no tail can be fitted
        return float(values.min() * (1 - config.size_margin)), float(values.max() * (1 + config.size_margin))
    rate, least = config.false_alarm_rate / tails, LEAST_ROOM[name]
    # Light and noise act as factors. A tail fitted to their logarithm cannot give a limit below 0.
    logarithmic = name not in LINEAR
    if logarithmic:
        values = np.log(np.maximum(values, FLOOR.get(name, 1e-3)))
    low = -tail_limit(-values, rate, least) if name in LOWER else None
    high = tail_limit(values, rate, least) if name in UPPER else None
    if logarithmic:
        low, high = (None if each is None else float(np.exp(each)) for each in (low, high))
    return low, high


def _rounded(value: float) -> float:
    """Rounded to six significant digits, for readability."""
    return float(f"{value:.6g}")

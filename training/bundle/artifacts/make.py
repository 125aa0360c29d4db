"""Makes and measures artifacts; those within their budget are added to the bundle."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from app.inspection.bundle.artifact import Artifact
from app.inspection.bundle.bundle import Bundle
from app.inspection.decoding.decode import decode
from app.inspection.inference.tiling import cut
from training.bundle.artifacts.budget import losses_to, verdicts_of
from training.bundle.artifacts.convert import Quantiser, write_fp16
from training.bundle.artifacts.latency import FASTER, assign_providers, ratios
from training.config import ArtifactName, OperatingPointConfig
from training.data.sample import Pixels, Sample, named
from training.files import sha256_of
from training.limits import limits
from training.sessions import inspector_of
from training.statistics import Figures
from training.thresholds.learn import Unseen, learn_artifact
from training.thresholds.operating_point import OperatingPointError

QUANTISATION_IMAGES = 48
QUANTISATION_TILES = 128
PROBE_TILES = 12  # tiles to measure the loss of each layer
FLOATING = (0, 1, 2, 4, 6, 8)  # numbers of layers in float, tried in this order


@dataclass
class Trial:
    """One artifact on trial: `why` it is refused (None if accepted), and the measurements."""

    artifact: Artifact
    why: str | None = None
    ratios: dict[str, float] = field(default_factory=dict)
    tries: list[Figures] = field(default_factory=list)
    layer_losses: dict[str, float] = field(default_factory=dict)
    calibration: Figures = field(default_factory=dict)

    def figures(self) -> Figures:
        """The figures for evaluation.json."""
        losses = {"layer_losses": self.layer_losses} if self.layer_losses else {}
        found = {"accepted": self.why is None, "refused_because": self.why, "tries": self.tries}
        return found | losses | {"probability_calibration": self.calibration}


@dataclass(frozen=True)
class Source:
    """A bundle with its fp32 graph, and its training images."""

    bundle: Bundle
    train: Sequence[Sample]


def make_artifacts(
    source: Source,
    wanted: Sequence[ArtifactName],
    unseen: Sequence[tuple[Source, Unseen]],
    config: OperatingPointConfig,
    work: Path,
) -> tuple[Bundle, Figures]:
    """Make the wanted artifacts of the bundle's fp32 graph; return the bundle with them, and all figures.

    Thresholds and budget are measured on `unseen`: the same bundle with its calibration split, or the bundle
    of each fold with that fold's held-out images. An artifact that exceeds its budget, or is faster on no
    provider, is left out; the figures say why. The manifest is not written, and graphs that are left out are
    not deleted.
    """
    bundle = source.bundle
    bench = Bench(source, unseen, config, work)
    trials = {name: bench.int8() if name == "int8" else bench.fp16() for name in wanted}
    fastest = {name: each.ratios for name, each in trials.items() if each.why is None}
    shares = assign_providers(bench.fp32.providers, fastest)
    kept = [_meant_for(bench.fp32, *shares["fp32"])] if shares["fp32"][0] else []
    for name in fastest:
        if shares[name][0]:
            kept.append(_meant_for(trials[name].artifact, *shares[name]))
        else:
            trials[name].why = "no execution provider is faster with it"
    if not shares["fp32"][0]:  # last, because a provider uses the first artifact assigned to it
        kept.append(_meant_for(bench.fp32, bench.fp32.providers, "the reference; each has a faster one"))
    figures = {
        "budget_measured_on": f"{bench.images} images that were in no fit",
        "in_bundle": {each.name: {"providers": each.providers, "reason": each.reason} for each in kept},
        "tried": {name: each.figures() for name, each in trials.items()},
    }
    return bundle.model_copy(update={"artifacts": tuple(kept)}), figures


def _meant_for(artifact: Artifact, providers: tuple[str, ...], reason: str) -> Artifact:
    return artifact.model_copy(update={"providers": providers, "reason": reason})


class Bench:
    """Makes artifacts of a bundle's fp32 graph and measures them.

    Each has its own thresholds and probability calibration, from images that were in no fit. The budget is
    measured on these and on the validation split. The ranges of int8 come from quantisation samples of the
    training split.
    """

    def __init__(
        self,
        source: Source,
        unseen: Sequence[tuple[Source, Unseen]],
        config: OperatingPointConfig,
        work: Path,
    ) -> None:
        """Compute the verdicts of fp32 on the images of the budget."""
        self._bundle, self._unseen, self._config, self._work = source.bundle, unseen, config, work
        self.fp32 = next(each for each in source.bundle.artifacts if each.name == "fp32")
        self._tiles = quantisation_tiles(source.train, source.bundle)
        self._quantisers: dict[Path, Quantiser] = {}
        self._reference = verdicts_of(
            (each for _, part in unseen for each in part.scored_all()), self.fp32.operating_point
        )
        self.images = len(self._reference.verdicts)

    def fp16(self) -> Trial:
        """The graph in half precision."""
        trial = Trial(self._named("fp16"))
        for bundle in self._bundles():
            write_fp16(bundle.directory / self.fp32.file, bundle.directory / trial.artifact.file)
        trial.ratios = self._ratios(trial.artifact)
        self._try(trial, {"layers_in_float": []})
        return trial

    def int8(self) -> Trial:
        """The graph in 8-bit integers, with more and more layers in float until it is within the budget.

        The layers whose quantisation changes the answers most stay in float first. The search stops when the
        graph is faster on no provider.
        """
        trial = Trial(self._named("int8"))
        path = self._path(trial.artifact)
        quantiser = Quantiser(self._path(self.fp32), self._tiles, self._work)
        trial.layer_losses = self._layer_losses(quantiser, trial.artifact)
        ranking = sorted(trial.layer_losses, key=lambda layer: -trial.layer_losses[layer])
        for number in FLOATING:
            quantiser.write(path, ranking[:number])
            self._quantise_folds(trial.artifact, ranking[:number])
            trial.ratios = self._ratios(trial.artifact)
            if all(ratio > FASTER for ratio in trial.ratios.values()):
                trial.why = f"with {number} layers in float, it is no faster than fp32: {trial.ratios}"
                break
            self._try(trial, {"layers_in_float": ranking[:number]})
            if trial.why is None:
                break
        return trial

    def _try(self, trial: Trial, about: Figures) -> None:
        """Choose the operating point of the present graph and compare its answers with those of fp32."""
        figures: Figures = about | {
            "time_of_fp32": trial.ratios,
            "bytes": self._path(trial.artifact).stat().st_size,
        }
        parts = [each.of(self._hashed(trial.artifact, part.bundle)) for part, each in self._unseen]
        try:
            learnt = learn_artifact(parts, self._config)
        except OperatingPointError as error:
            trial.why = str(error)
        else:
            trial.artifact = learnt.applied_to(self._hashed(trial.artifact))
            trial.calibration = learnt.report
            found = verdicts_of((each for part in parts for each in part.scored_all()), learnt.point)
            figures |= losses_to(found, self._reference)
            trial.why = "; ".join(figures["beyond_budget"]) or None
        trial.tries.append(figures)

    def _layer_losses(self, quantiser: Quantiser, artifact: Artifact) -> dict[str, float]:
        """The change of the answers for a few tiles if only that layer is quantised, by layer.

        It is the mean change of the mask probabilities plus that of the head probability.
        """
        tiles = np.stack(self._tiles[:PROBE_TILES])
        expected = inspector_of(self._bundle, self.fp32).session.run(tiles)
        losses = {}
        for layer in quantiser.layers:
            quantiser.write(self._path(artifact), set(quantiser.layers) - {layer})
            found = inspector_of(self._bundle, self._hashed(artifact)).session.run(tiles)
            mask = np.abs(found.mask_probability.astype(np.int16) - expected.mask_probability).mean() / 255
            image = np.abs(found.image_probability - expected.image_probability).mean()
            losses[layer] = round(float(mask + image), 5)
        return losses

    def _named(self, name: ArtifactName) -> Artifact:
        return self.fp32.model_copy(update={"name": name, "file": f"model.{name}.onnx"})

    def _path(self, artifact: Artifact) -> Path:
        return self._bundle.directory / artifact.file

    def _hashed(self, artifact: Artifact, bundle: Bundle | None = None) -> Artifact:
        directory = (bundle or self._bundle).directory
        return artifact.model_copy(update={"sha256": sha256_of(directory / artifact.file)})

    def _bundles(self) -> list[Bundle]:
        """The bundle and those of the folds."""
        others = [part.bundle for part, _ in self._unseen if part.bundle.directory != self._bundle.directory]
        return [self._bundle, *others]

    def _quantise_folds(self, artifact: Artifact, in_float: Sequence[str]) -> None:
        """Quantise the same layers of each fold's graph, with ranges from the fold's training images."""
        for part, _ in self._unseen:
            directory = part.bundle.directory
            if directory == self._bundle.directory:
                continue
            if directory not in self._quantisers:
                tiles = quantisation_tiles(part.train, part.bundle)
                work = self._work / directory.parent.name
                self._quantisers[directory] = Quantiser(directory / self.fp32.file, tiles, work)
            self._quantisers[directory].write(directory / artifact.file, in_float)

    def _ratios(self, artifact: Artifact) -> dict[str, float]:
        return ratios(self._bundle, self.fp32, self._hashed(artifact), self._tiles[0])


def quantisation_tiles(samples: Sequence[Sample], bundle: Bundle) -> list[Pixels]:
    """Tiles uint8 [h, w, C] of images spread over the training split.

    Images of other splits must not be used, because the ranges fitted to them are part of the model.
    """
    tiles: list[Pixels] = []
    for sample in quantisation_samples(samples):
        with named(sample.name, sample.image):
            tiles += list(cut(decode(sample.image.read(), limits()), bundle.input)[0])
    places = np.linspace(0, len(tiles) - 1, min(QUANTISATION_TILES, len(tiles))).round().astype(int)
    return [tiles[place] for place in np.random.default_rng(0).permutation(places)]


def quantisation_samples(samples: Sequence[Sample]) -> list[Sample]:
    """Images spread over the training split, half of them defective where possible."""
    chosen = []
    for defective in (True, False):
        some = [each for each in samples if each.defective is defective]
        places = np.linspace(0, len(some) - 1, min(QUANTISATION_IMAGES // 2, len(some))).round().astype(int)
        chosen += [some[place] for place in places]
    return chosen

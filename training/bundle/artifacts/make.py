"""Artifacts made, tried, and taken into the bundle where they keep their budget."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from app.inspection.bundle.artifact import Artifact
from app.inspection.bundle.bundle import Bundle
from app.inspection.decoding.decode import DecodeLimits, decode
from app.inspection.inference.tiling import cut
from training.bundle.artifacts.budget import held_against, verdicts_of
from training.bundle.artifacts.convert import Quantiser, write_fp16
from training.bundle.artifacts.latency import FASTER, ratios, share_out
from training.config import ArtifactName, OperatingPointConfig
from training.data.sample import Pixels, Sample, named
from training.files import sha256_of
from training.sessions import inspector_of
from training.statistics import Figures
from training.thresholds.learn import Unseen, learn_artifact
from training.thresholds.operating_point import OperatingPointError

QUANTISATION_PICTURES = 48
QUANTISATION_TILES = 128
PROBE_TILES = 12  # on which it is seen how much a layer loses
FLOATING = (0, 1, 2, 4, 6, 8)  # how many layers stay in float, one try after the other


@dataclass
class Trial:
    """One artifact on trial: `why` it is refused (None: it is not), and what was found on the way."""

    artifact: Artifact
    why: str | None = None
    ratios: dict[str, float] = field(default_factory=dict)
    tries: list[Figures] = field(default_factory=list)
    layer_losses: dict[str, float] = field(default_factory=dict)
    calibration: Figures = field(default_factory=dict)

    def told(self) -> Figures:
        """The figures of evaluation.json."""
        losses = {"layer_losses": self.layer_losses} if self.layer_losses else {}
        found = {"accepted": self.why is None, "refused_because": self.why, "tries": self.tries}
        return found | losses | {"probability_calibration": self.calibration}


@dataclass(frozen=True)
class Source:
    """A bundle with its fp32 graph, and the images that it was fitted on."""

    bundle: Bundle
    train: Sequence[Sample]


def make_artifacts(
    source: Source,
    wanted: Sequence[ArtifactName],
    unseen: Sequence[tuple[Source, Unseen]],
    config: OperatingPointConfig,
    work: Path,
) -> tuple[Bundle, Figures]:
    """Make fp16 or int8, as wanted, of the bundle's fp32 graph; return the bundle with them, and all figures.

    `source` is the bundle and its training images, `unseen` what thresholds and budget are measured on: the
    same bundle on its calibration split, or the bundle of each fold on the fold's own part. An artifact that
    is beyond its budget, or that no provider is faster with, is left out and told of. The manifest is not
    written; graphs left out stay where they are.
    """
    bundle = source.bundle
    bench = Bench(source, unseen, config, work)
    trials = {name: bench.int8() if name == "int8" else bench.fp16() for name in wanted}
    fastest = {name: each.ratios for name, each in trials.items() if each.why is None}
    shares = share_out(bench.fp32.providers, fastest)
    kept = [_meant_for(bench.fp32, *shares["fp32"])] if shares["fp32"][0] else []
    for name in fastest:
        if shares[name][0]:
            kept.append(_meant_for(trials[name].artifact, *shares[name]))
        else:
            trials[name].why = "no execution provider is faster with it"
    if not shares["fp32"][0]:  # last, for a provider takes the first artifact that is meant for it
        kept.append(_meant_for(bench.fp32, bench.fp32.providers, "the reference; each has a faster one"))
    figures = {
        "budget_measured_on": f"{bench.images} images that no fit has seen",
        "in_bundle": {each.name: {"providers": each.providers, "reason": each.reason} for each in kept},
        "tried": {name: each.told() for name, each in trials.items()},
    }
    return bundle.model_copy(update={"artifacts": tuple(kept)}), figures


def _meant_for(artifact: Artifact, providers: tuple[str, ...], reason: str) -> Artifact:
    return artifact.model_copy(update={"providers": providers, "reason": reason})


class Bench:
    """Makes artifacts of a bundle's fp32 graph and tries them.

    Each has thresholds and probability calibration of its own, from images that no fit has seen. The budget
    is measured on these and the validation split; int8's ranges come from quantisation samples, which are of
    the training split.
    """

    def __init__(
        self,
        source: Source,
        unseen: Sequence[tuple[Source, Unseen]],
        config: OperatingPointConfig,
        work: Path,
    ) -> None:
        """Inspect the images of the budget with fp32."""
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
        """The graph in 8-bit integers, with ever more layers in float until the budget is kept.

        Those whose quantisation alone changes the answers most stay in float first. It ends where no provider
        is faster any more.
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
                trial.why = f"with {number} layers in float it is no faster than fp32: {trial.ratios}"
                break
            self._try(trial, {"layers_in_float": ranking[:number]})
            if trial.why is None:
                break
        return trial

    def _try(self, trial: Trial, about: Figures) -> None:
        """Choose the operating point of the graph as it is now and hold its answers against fp32's."""
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
            figures |= held_against(found, self._reference)
            trial.why = "; ".join(figures["beyond_budget"]) or None
        trial.tries.append(figures)

    def _layer_losses(self, quantiser: Quantiser, artifact: Artifact) -> dict[str, float]:
        """Of each layer how much the answers to a few tiles change if it alone is quantised.

        The mean change of the mask's probabilities plus that of the image probability.
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
        """The bundle itself and those of the folds."""
        others = [part.bundle for part, _ in self._unseen if part.bundle.directory != self._bundle.directory]
        return [self._bundle, *others]

    def _quantise_folds(self, artifact: Artifact, in_float: Sequence[str]) -> None:
        """Quantise the same layers of each fold's graph, with ranges from the fold's own training images."""
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
    """Tiles uint8 [h, w, C] of pictures spread over the training split.

    They are never pictures of another split: what they fit is part of the model.
    """
    tiles: list[Pixels] = []
    for sample in quantisation_samples(samples):
        with named(sample.name, sample.image):
            tiles += list(cut(decode(sample.image.read(), DecodeLimits()), bundle.input)[0])
    places = np.linspace(0, len(tiles) - 1, min(QUANTISATION_TILES, len(tiles))).round().astype(int)
    return [tiles[place] for place in np.random.default_rng(0).permutation(places)]


def quantisation_samples(samples: Sequence[Sample]) -> list[Sample]:
    """Pictures spread over the training split, half of them defective where possible."""
    chosen = []
    for defective in (True, False):
        some = [each for each in samples if each.defective is defective]
        places = np.linspace(0, len(some) - 1, min(QUANTISATION_PICTURES // 2, len(some))).round().astype(int)
        chosen += [some[place] for place in places]
    return chosen

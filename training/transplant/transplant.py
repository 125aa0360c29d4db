"""Makes generated defects on good images and filters them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from training.data.pictures import LoadedPictures, Picture
from training.data.sample import Bits, DatasetError, Pixels, Sample
from training.transplant.candidates import Candidate, Generator
from training.transplant.crops import clean_crops, generated_crops, real_crops
from training.transplant.donors import Marked, cut_donors
from training.transplant.plausibility import Embed, Screening, frozen_encoder, screen

CROP_SIDE_PX = 128  # size of the classifier's input


@dataclass(frozen=True)
class TransplantSettings:
    """Settings of transplantation.

    `drawn`: classes of `synthesis.defects.DEFECTS` that are drawn in addition, each with its number in the
    data set. `oversampling`: candidates per wanted image. `quantile`: share of the real defects that may have
    a lower score than the kept ones; None skips the filter.
    """

    drawn: Mapping[str, int] = field(default_factory=dict)
    oversampling: float = 3.0
    quantile: float | None = 0.1


@dataclass(frozen=True)
class Transplants:
    """The kept images, uint8 [H, W] and class bits [H, W] each, and the counts.

    `candidates` were made; `unplaced` more found no place on a good image or were not visible there.
    """

    images: list[tuple[Pixels, Bits]]
    candidates: int
    unplaced: int
    screening: Screening | None

    def summary(self) -> str:
        """What was made, dropped and kept, as text."""
        text = f"{self.candidates} defects generated ({self.unplaced} more found no place)"
        if self.screening is None:
            return f"{text}, {len(self.images)} kept without a filter"
        if self.screening.refusal is not None:
            return f"{text}, {len(self.images)} kept without a filter: {self.screening.refusal}"
        seen, plausible = self.screening, int(self.screening.plausible.sum())
        return (
            f"{text}, {self.candidates - plausible} dropped as implausible, {len(self.images)} kept of "
            f"{plausible} (filter of {seen.real} real defects of {seen.groups} parts; AUROC of real against "
            f"good {seen.auroc_good:.2f}, against generated {seen.auroc_generated:.2f})"
        )


def transplant(
    good: Sequence[Pixels],
    defective: Sequence[Marked],
    count: int,
    seed: int,
    settings: TransplantSettings | None = None,
    embed: Embed | None = None,
) -> Transplants:
    """Put generated defects on good images and keep up to `count` plausible ones, deterministic by `seed`.

    `good` and `defective` must be of the training split only. Fewer than `count` are returned if the filter
    drops more than `settings.oversampling` allows for. `embed` computes features of crops, by default with
    the frozen ImageNet encoder. Raises ValueError without good images, or without marked defects and drawn
    classes.
    """
    settings = settings or TransplantSettings()
    generator = Generator(good, cut_donors(defective), settings.drawn, seed)
    if settings.quantile is None:
        images = [_labelled(each) for _, each in generator.candidates(range(count))]
        return Transplants(images, len(images), count - len(images), None)
    total = round(count * settings.oversampling)
    numbers, generated, surface = generated_crops(generator, good, total)
    screening = screen(
        real_crops(defective),
        generated,
        surface.joined(clean_crops(defective, seed)),
        embed or frozen_encoder(CROP_SIDE_PX),
        settings.quantile,
    )
    plausible = [number for number, keep in zip(numbers, screening.plausible, strict=True) if keep]
    # Made again from their numbers, because only the crops of candidates were kept.
    images = [_labelled(each) for _, each in generator.candidates(plausible[:count])]
    return Transplants(images, len(numbers), total - len(numbers), screening)


def _labelled(candidate: Candidate) -> tuple[Pixels, Bits]:
    return candidate.pixels, candidate.bits


def transplanted_images(
    samples: Sequence[Sample],
    images: Sequence[Picture],
    count: int,
    seed: int,
    settings: TransplantSettings,
) -> LoadedPictures:
    """Return up to `count` transplants of the training split, and print a summary.

    `images` are the `samples` of that split, loaded at the trained pixel scale; the transplants have the
    same scale. Raises DatasetError if there are no good images or no marked defects.
    """
    good = [image.pixels for image in images if not image.defective and image.bits is None]
    defective = [
        Marked(image.pixels, image.bits, sample.group)
        for sample, image in zip(samples, images, strict=True)
        if image.defective and image.bits is not None
    ]
    try:
        made = transplant(good, defective, count, seed, settings)
    except ValueError as error:
        raise DatasetError(f"no defect can be transplanted: {error}") from error
    print(made.summary(), flush=True)
    return LoadedPictures(Picture(pixels, bits, True) for pixels, bits in made.images)

"""Transplants as pictures to train on, beside those they were made from."""

from collections.abc import Sequence

from training.data.pictures import LoadedPictures, Picture
from training.data.sample import DatasetError, Sample
from training.transplant.donors import Marked
from training.transplant.transplant import Settings, transplant


def transplanted_pictures(
    samples: Sequence[Sample], pictures: Sequence[Picture], count: int, seed: int, settings: Settings
) -> LoadedPictures:
    """Return up to `count` transplants of the training split, and print what became of the others.

    `pictures` are the `samples` of that split, loaded at the trained pixel scale; the transplants have the
    same scale. Raises DatasetError where there is nothing to make them from.
    """
    good = [picture.pixels for picture in pictures if not picture.defective]
    defective = [
        Marked(picture.pixels, picture.bits, sample.group)
        for sample, picture in zip(samples, pictures, strict=True)
        if picture.defective and picture.bits is not None
    ]
    try:
        made = transplant(good, defective, count, seed, settings)
    except ValueError as error:
        raise DatasetError(f"no defect can be transplanted: {error}") from error
    print(made.summary(), flush=True)
    return LoadedPictures(Picture(pixels, bits, True) for pixels, bits in made.pictures)

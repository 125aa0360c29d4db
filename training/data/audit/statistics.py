"""Statistics of a set: classes, defect sizes, image sizes, brightness and sharpness."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.data.audit.faults import Examined
from training.data.sample import Sample, Size

OUTLIER_SPREADS = 5.0  # limit, in robust standard deviations (1.4826 MAD) from the median


@dataclass(frozen=True)
class ClassCount:
    """Counts of one class: images, regions and pixels; median and smallest area of a region in px."""

    name: str
    pictures: int
    regions: int
    pixels: int
    median_px: float
    least_px: int


@dataclass(frozen=True)
class Spread:
    """Distribution of a quantity: one value per image, by name; outliers, the furthest first."""

    quantity: str
    values: Mapping[str, float]
    outliers: tuple[str, ...]

    def quantile(self, share: float) -> float:
        """The quantile at `share`, 0 to 1; 0 without images."""
        return float(np.quantile(list(self.values.values()), share)) if self.values else 0.0


@dataclass(frozen=True)
class Statistics:
    """Statistics of a set.

    `labels` counts images by their whole label, `shown` by each class that the label names. `sizes`
    counts images by (height, width); `areas` holds the area in px of every defect region.
    """

    pictures: int
    defective: int
    labels: Mapping[str, int]
    shown: Mapping[str, int]
    classes: tuple[ClassCount, ...]
    sizes: Mapping[Size, int]
    areas: tuple[int, ...]
    spreads: tuple[Spread, ...]


def statistics_of(
    samples: Sequence[Sample], classes: Sequence[str], examined: Mapping[str, Examined]
) -> Statistics:
    """Compute the statistics; an unreadable image is counted by its label only."""
    pictures = examined.values()
    return Statistics(
        pictures=len(samples),
        defective=sum(sample.defective for sample in samples),
        labels=dict(Counter(sample.picture_class for sample in samples).most_common()),
        shown=Counter(name for sample in samples for name in sample.picture_class.split(",")),
        classes=tuple(_class_count(name, number, examined) for number, name in enumerate(classes, 1)),
        sizes=dict(Counter(picture.size for picture in pictures).most_common()),
        areas=tuple(area for picture in pictures for _, area in picture.areas),
        spreads=(
            _spread("brightness", {name: picture.brightness for name, picture in examined.items()}),
            _spread(
                "sharpness, log10 of the variance of the Laplacian",
                {name: float(np.log10(picture.sharpness + 1e-3)) for name, picture in examined.items()},
            ),
        ),
    )


def _class_count(name: str, number: int, examined: Mapping[str, Examined]) -> ClassCount:
    by_picture = [[area for of, area in each.areas if of == number] for each in examined.values()]
    areas = [area for picture in by_picture for area in picture]
    return ClassCount(
        name=name,
        pictures=sum(bool(picture) for picture in by_picture),
        regions=len(areas),
        pixels=sum(areas),
        median_px=float(np.median(areas)) if areas else 0.0,
        least_px=min(areas, default=0),
    )


def _spread(quantity: str, values: Mapping[str, float]) -> Spread:
    if not values:
        return Spread(quantity, {}, ())
    numbers = np.array(list(values.values()))
    distance = np.abs(numbers - np.median(numbers))
    limit = OUTLIER_SPREADS * 1.4826 * np.median(distance)
    names = list(values)
    far = [number for number in np.argsort(-distance, kind="stable") if distance[number] > limit > 0]
    return Spread(quantity, values, tuple(names[number] for number in far))

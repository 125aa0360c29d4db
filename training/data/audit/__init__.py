"""Data set audit: finds faults, leaks and near-duplicates, each with its remedy, and writes a report."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from training.data.audit.duplicates import Pair, near_duplicates
from training.data.audit.faults import REMEDIES, Examined, Fault, examine
from training.data.audit.leaks import (
    SMALL_GROUP,
    Agreement,
    InGroups,
    agreement,
    copy_faults,
    exact_copies,
    group_faults,
    parts_of,
)
from training.data.audit.report import write_audit
from training.data.audit.signatures import usual_side
from training.data.audit.statistics import Statistics, statistics_of
from training.data.audit.warnings import warnings_of
from training.data.sample import Dataset, DatasetError, Sample

__all__ = ["Agreement", "Audit", "Fault", "Pair", "Statistics", "check"]

SPECKLE_PX = 5


@dataclass(frozen=True)
class Audit:
    """Result of an audit: faults in the order of the report, warnings, near-duplicates, statistics.

    `agreement` compares the near-duplicates with the set's own groups, which the search does not use.
    """

    faults: tuple[Fault, ...]
    warnings: tuple[str, ...]
    near_duplicates: tuple[Pair, ...]
    agreement: Agreement
    statistics: Statistics

    def of(self, kind: str) -> tuple[Fault, ...]:
        """The faults of one kind."""
        return tuple(fault for fault in self.faults if fault.kind == kind)

    @property
    def summary(self) -> str:
        """One line per class, kind of fault and warning, and the agreement of pairs with groups."""
        statistics = self.statistics
        classes = [
            f"class {each.name}: {statistics.shown.get(each.name, 0)} images, {each.pictures} with marks, "
            f"{each.regions} regions, {each.pixels} px"
            for each in statistics.classes
        ]
        counts = [f"{kind}: {len(self.of(kind))}" for kind in REMEDIES if self.of(kind)]
        groups = self.agreement
        return "\n".join(
            [
                f"{statistics.pictures} images, {len(self.faults)} faults",
                f"good: {statistics.pictures - statistics.defective} images",
                *classes,
                *counts,
                *(f"warning: {each}" for each in self.warnings),
                _agreement("groups", groups.every),
                _agreement(f"groups of at most {SMALL_GROUP} images", groups.small),
                f"pairs found in different groups: {groups.found_elsewhere}",
            ]
        )


def check(
    dataset: Dataset,
    report: Path,
    splits: Mapping[str, Sequence[str]] | None = None,
    speckle_px: int = SPECKLE_PX,
) -> Audit:
    """Audit every image, search all pairs for copies, and write the report as one HTML file.

    `splits` maps split names to image names; None means the published splits. Regions smaller than
    `speckle_px` px are speckle. Copies are found even if rotated by quarter turns, mirrored, re-exposed,
    re-encoded, slightly noisy, or shifted or cropped by a tenth of the side or more. Needs about 15 kB
    of memory per image. Raises DatasetError if the set is empty, has a name twice, or a split names an
    image that it lacks.
    """
    samples = _by_name(dataset.samples)
    parts = parts_of(dataset.samples, splits)
    examined, faults = _examine_all(dataset, speckle_px)
    exact = exact_copies(examined)
    repeated = {name for names in exact for name in names[1:]}
    near = near_duplicates(
        {
            name: picture.signature
            for name, picture in examined.items()
            if picture.signature is not None and name not in repeated
        }
    )
    faults += copy_faults(samples, examined, parts, exact, near)
    faults += group_faults(dataset.samples, parts)
    order = list(REMEDIES)
    audit = Audit(
        faults=tuple(sorted(faults, key=lambda fault: (order.index(fault.kind), fault.samples))),
        warnings=warnings_of(dataset, examined),
        near_duplicates=tuple(near),
        agreement=agreement(samples, exact, near),
        statistics=statistics_of(dataset.samples, dataset.classes, examined),
    )
    write_audit(report, dataset, audit.faults, near, (audit.statistics, audit.agreement, audit.warnings))
    return audit


def _by_name(samples: Sequence[Sample]) -> dict[str, Sample]:
    named = {sample.name: sample for sample in samples}
    if not named:
        raise DatasetError("the set holds no images; there is nothing to check")
    if len(named) < len(samples):
        raise DatasetError("the set has two images of one name; give each its own")
    return named


def _examine_all(dataset: Dataset, speckle_px: int) -> tuple[dict[str, Examined], list[Fault]]:
    """Measurements of every readable image, by name, and the faults of single images."""
    usual = usual_side(dataset.samples)

    def look(sample: Sample) -> tuple[Examined | None, list[Fault]]:
        return examine(sample, dataset.classes, usual, speckle_px)

    examined: dict[str, Examined] = {}
    faults: list[Fault] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for sample, (picture, found) in zip(dataset.samples, pool.map(look, dataset.samples), strict=True):
            faults += found
            if picture is not None:
                examined[sample.name] = picture
    return examined, faults


def _agreement(name: str, groups: InGroups) -> str:
    return (
        f"pairs within {name}: found {groups.found} of {groups.pairs}, {groups.joined} with copies of "
        f"copies; found whole: {groups.whole} of {groups.groups}"
    )

"""The audit report as an HTML page: faults with their images, contact sheet and charts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from training.data.audit.duplicates import Pair
from training.data.audit.faults import REMEDIES, Fault
from training.data.audit.leaks import SMALL_GROUP, Agreement
from training.data.audit.registration import turned
from training.data.audit.sheet import contact_sheet, overlaid
from training.data.audit.statistics import Spread, Statistics
from training.data.sample import Dataset, DatasetError, Pixels, Sample
from training.files import write_text
from training.rendering import chart, embedded_image, render

SHOWN_FAULTS = 12  # faults of each kind shown with images; the others are listed by name
SHOWN_PICTURES = 6  # images shown per fault
SIDE_PX = 200  # longer side of a shown image
OF_PAIRS = (
    "exact duplicate",
    "copies across splits",
    "copies in different groups",
    "conflicting labels of copies",
)


def write_audit(
    path: Path,
    dataset: Dataset,
    faults: Sequence[Fault],
    pairs: Sequence[Pair],
    found: tuple[Statistics, Agreement, Sequence[str]],
) -> None:
    """Write the audit report atomically; `found` is (statistics, agreement, warnings)."""
    statistics, agreement, warnings = found
    samples = {sample.name: sample for sample in dataset.samples}
    by_names = {frozenset((pair.first, pair.second)): pair for pair in pairs}
    kinds = []
    for kind, remedy in REMEDIES.items():
        of_kind = [fault for fault in faults if fault.kind == kind]
        if of_kind:
            shown = [_shown(fault, samples, by_names) for fault in of_kind[:SHOWN_FAULTS]]
            kinds.append(
                {"name": kind, "remedy": remedy, "count": len(of_kind), "shown": shown}
                | {"others": of_kind[SHOWN_FAULTS:]}
            )
    values = {"title": "Data set audit", "kinds": kinds, "charts": _charts(statistics), "faults": len(faults)}
    values |= {"statistics": statistics, "agreement": agreement, "small_group": SMALL_GROUP}
    values |= {"warnings": warnings, "sheet": contact_sheet(dataset)}
    write_text(path, render("audit.html", values))


def _shown(
    fault: Fault, samples: Mapping[str, Sample], pairs: Mapping[frozenset[str], Pair]
) -> dict[str, Any]:
    """A fault with its first images; for copies, a registered pair comes first."""
    names = list(fault.samples)
    pair = None
    if fault.kind in OF_PAIRS:
        within = (pairs.get(frozenset((a, b))) for a in names for b in names if a < b)
        pair = next((found for found in within if found is not None), None)
    if pair is not None:
        names = [pair.first, pair.second, *(name for name in names if name not in (pair.first, pair.second))]
    pictures = [{"name": name, "image": _image(samples[name])} for name in names[:SHOWN_PICTURES]]
    return {"fault": fault, "pictures": pictures, "pair": pair, "aligned": _aligned(samples, pair)}


def _image(sample: Sample) -> Markup:
    """The image with its mask as an overlay, or a note that it is not readable."""
    try:
        pixels = sample.pixels()
    except DatasetError:
        return Markup("<em>not readable</em>")
    try:  # the annotation on disk, also of a good image
        bits = sample.annotation.draw((pixels.shape[0], pixels.shape[1])) if sample.annotation else None
    except DatasetError:
        bits = None
    return embedded_image(overlaid(pixels, bits, SIDE_PX), sample.name)


def _aligned(samples: Mapping[str, Sample], pair: Pair | None) -> Markup | None:
    """The second image of a pair in the orientation of the first."""
    if pair is None:
        return None
    pixels = np.ascontiguousarray(turned(samples[pair.second].pixels(), pair.registration.turn))
    return embedded_image(_small(pixels), f"{pair.second}, aligned with the first")


def _small(pixels: Pixels) -> Pixels:
    scale = min(1.0, SIDE_PX / max(pixels.shape))
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _charts(statistics: Statistics) -> list[Markup]:
    return [_labels(statistics), _sizes(statistics), *map(_spread, statistics.spreads)]


def _labels(statistics: Statistics) -> Markup:
    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    names = list(statistics.labels)[:20]
    axes.barh(names[::-1], [statistics.labels[name] for name in names[::-1]])
    axes.set_xlabel("images")
    return chart(figure)


def _sizes(statistics: Statistics) -> Markup:
    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    if statistics.areas:
        axes.hist(np.log2(statistics.areas), bins=30)
    axes.set_xlabel("defect size, log2 px")
    axes.set_ylabel("regions")
    return chart(figure)


def _spread(spread: Spread) -> Markup:
    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    axes.hist(list(spread.values.values()), bins=40)
    axes.set_xlabel(spread.quantity)
    axes.set_ylabel("images")
    return chart(figure)

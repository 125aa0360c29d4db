"""Contact sheet: a few images per label with mask overlay, to check that masks are read correctly."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from markupsafe import Markup

from training.data.sample import (
    MAX_CLASSES,
    Bits,
    Dataset,
    DatasetError,
    Pixels,
    Sample,
    class_mask,
    counted,
    defects,
)
from training.rendering import embedded_image

OF_EACH_LABEL = 6  # images shown per label
MOST_LABELS = 24  # the most frequent labels; combinations of classes can be many
SIDE_PX = 240  # longer side of a shown image
# RGB of the classes by number, repeated after the last; then of ignored pixels.
COLOURS = (
    (230, 30, 30), (30, 110, 230), (250, 170, 0), (20, 160, 80), (170, 60, 200), (0, 180, 190),
    (240, 100, 170), (130, 90, 40),
)  # fmt: skip
IGNORED_COLOUR = (255, 255, 255)
_OPACITY = 0.35


def contact_sheet(dataset: Dataset) -> dict[str, Any]:
    """Template values of the sheet: images by label, class colours, number of labels left out."""
    by_label: dict[str, list[Sample]] = defaultdict(list)
    for sample in dataset.samples:
        by_label[sample.picture_class].append(sample)
    commonest = sorted(by_label, key=lambda label: -len(by_label[label]))[:MOST_LABELS]
    rows = [
        {
            "label": label,
            "count": len(by_label[label]),
            "pictures": [{"name": each.name, "image": _shown(each)} for each in _spread(by_label[label])],
        }
        for label in commonest
    ]
    colours = [(name, "#{:02x}{:02x}{:02x}".format(*_colour(k))) for k, name in enumerate(dataset.classes)]
    return {"rows": rows, "colours": colours, "left_out": len(by_label) - len(commonest)}


def overlaid(pixels: Pixels, bits: Bits | None, side: int = SIDE_PX) -> Pixels:
    """A small RGB copy of a grey image with its classes tinted and outlined."""
    scale = min(1.0, side / max(pixels.shape))
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    small = cv2.cvtColor(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2RGB)
    shown = np.array(small, np.uint8)
    if bits is None:
        return shown
    layers = [(~counted(bits), IGNORED_COLOUR)]
    layers += [(class_mask(bits, k + 1) & defects(bits), _colour(k)) for k in range(MAX_CLASSES)]
    for mask, colour in layers:
        if not mask.any():
            continue
        share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        marked = (share > 0).astype(np.uint8)  # a speck must not vanish in the small copy
        tinted = shown[marked > 0] * (1 - _OPACITY) + np.array(colour) * _OPACITY
        shown[marked > 0] = tinted.astype(np.uint8)
        outlines = cv2.findContours(marked, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]
        cv2.drawContours(shown, outlines, -1, colour, 1)
    return shown


def _shown(sample: Sample) -> Markup:
    """The image, good or defective, with its annotation as an overlay, or a note if unreadable."""
    try:
        pixels = sample.pixels()
    except DatasetError:
        return Markup("<em>not readable</em>")
    try:
        bits = sample.annotation.draw((pixels.shape[0], pixels.shape[1])) if sample.annotation else None
    except DatasetError:
        return embedded_image(overlaid(pixels, None), sample.name) + Markup("<em>mask not readable</em>")
    return embedded_image(overlaid(pixels, bits), sample.name)


def _spread(samples: Sequence[Sample]) -> list[Sample]:
    """Up to OF_EACH_LABEL samples, evenly spaced over all of them."""
    places = np.linspace(0, len(samples) - 1, min(OF_EACH_LABEL, len(samples))).round().astype(int)
    return [samples[place] for place in places]


def _colour(place: int) -> tuple[int, int, int]:
    return COLOURS[place % len(COLOURS)]

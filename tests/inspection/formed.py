"""Operating points and regions for tests that need no model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.inspection.bundle.artifact import OperatingPoint
from app.inspection.bundle.region_model import RegionModel
from app.inspection.measuring.defect_regions import Regions, form_regions, keep_defects
from app.inspection.measuring.mask import MaskAccumulator, marks_of
from app.inspection.results import TileProbability
from tests.tiny_bundle import REGIONS

PEAK = RegionModel.model_validate(REGIONS)


def point(
    pixel: float = 0.5, image: float = 0.5, area: int = 0, regions: RegionModel = PEAK
) -> OperatingPoint:
    """An operating point whose region model looks at the highest probability alone, unless told otherwise."""
    thresholds: dict[str, Any] = {"image_threshold": image, "pixel_threshold": pixel, "head_threshold": 0.5}
    return OperatingPoint(min_area_px=area, regions=regions, **thresholds)


def marked(label_map: NDArray[np.uint8], highest: NDArray[np.uint8]) -> MaskAccumulator:
    """MaskAccumulator with these two planes."""
    marks = MaskAccumulator((label_map.shape[0], label_map.shape[1]), point())
    marks.label_map[:], marks.highest[:] = label_map, highest
    return marks


def regions_in(label_map: NDArray[np.uint8], highest: NDArray[np.uint8]) -> Regions:
    """The regions of a label map, which stays as it is."""
    return form_regions(marked(label_map, highest), np.zeros_like(label_map), (), point())


def decided(
    planes: NDArray[np.uint8],
    at: OperatingPoint,
    image: NDArray[np.uint8] | None = None,
    tiles: Sequence[TileProbability] = (),
) -> tuple[NDArray[np.uint8], Regions]:
    """The label map and the kept regions of probability maps uint8 [K, H, W]."""
    marks = marks_of(planes, at)
    regions = form_regions(marks, np.zeros(planes.shape[1:], np.uint8) if image is None else image, tiles, at)
    kept = keep_defects(marks, regions, at)
    return marks.label_map, kept

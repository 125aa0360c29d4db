"""Recipe geometry: polygons in px or mm, the part as region of interest, and conversion from mm to px.

Image coordinates are x to the right and y down, in px. (0, 0) is the centre of the first pixel, as for a
defect's centroid.
"""

import math
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from app.inspection.rules.limits import LARGEST_PITCH_MM, LEAST_PITCH_MM, ExtraRules, Positive, Size, Strict

MAX_POINTS = 1000  # in one polygon
MAX_REGIONS = 100  # of one kind; with MAX_POINTS_IN_ALL it bounds the time to draw a recipe's regions
MAX_POINTS_IN_ALL = 4000
FAR_PX = 1e9  # outside every image, and too small to overflow


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Coordinate = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Point = Annotated[tuple[Coordinate, Coordinate], BeforeValidator(_as_tuple)]
Polygon = Annotated[tuple[Point, ...], BeforeValidator(_as_tuple), Field(min_length=3, max_length=MAX_POINTS)]


class Calibration(Strict):
    """Two points in the image and their distance on the part."""

    from_px: Point
    """The first point, [x, y] in px."""
    to_px: Point
    """The second point, [x, y] in px."""
    distance_mm: Positive
    """Their distance on the part in mm."""

    @model_validator(mode="after")
    def _points_differ(self) -> "Calibration":
        if self.from_px == self.to_px:
            raise ValueError("from_px and to_px are the same point; use two points that are far apart")
        if not LEAST_PITCH_MM <= self.pixel_pitch_mm <= LARGEST_PITCH_MM:
            raise ValueError(
                f"gives {self.pixel_pitch_mm:g} mm per pixel; it must be {LEAST_PITCH_MM:g} "
                f"to {LARGEST_PITCH_MM:g}"
            )
        return self

    @property
    def pixel_pitch_mm(self) -> float:
        """The mm on the part that one pixel covers."""
        return self.distance_mm / math.dist(self.from_px, self.to_px)


class PartFrame(Strict):
    """The part's coordinate system in the image; its y axis is 90 degrees counter-clockwise from x."""

    origin_px: Point
    """The part's origin in the image, [x, y] in px."""
    angle_deg: Annotated[float, Field(ge=-360, le=360, allow_inf_nan=False)] = 0.0
    """Angle from the image's x axis to the part's x axis, counter-clockwise as seen on the image."""

    def to_px(self, point_mm: tuple[float, float], pixel_pitch_mm: float) -> tuple[float, float]:
        """Convert a point of the part, (x, y) in mm, to image coordinates in px."""
        x, y = (min(max(each / pixel_pitch_mm, -FAR_PX), FAR_PX) for each in point_mm)
        cosine, sine = math.cos(math.radians(self.angle_deg)), math.sin(math.radians(self.angle_deg))
        return self.origin_px[0] + x * cosine - y * sine, self.origin_px[1] - x * sine - y * cosine


class Region(Strict):
    """A polygon in the image in px, or on the part in mm; inside follows the even-odd rule."""

    polygon_px: Polygon | None = None
    """Its corners in the image, [[x, y], ...] in px; give this or `polygon_mm`."""
    polygon_mm: Polygon | None = None
    """Its corners on the part, [[x, y], ...] in mm, in the recipe's `part_frame`."""

    @model_validator(mode="after")
    def _is_one_polygon(self) -> "Region":
        if (self.polygon_px is None) == (self.polygon_mm is None):
            raise ValueError("needs a polygon: set one of polygon_px and polygon_mm")
        corners = np.array(self.polygon_px or self.polygon_mm)
        if np.linalg.matrix_rank(corners - corners[0]) < 2:
            raise ValueError("the corners of the polygon lie on one line, so it covers no area")
        return self

    def corners_px(self, frame: PartFrame | None, pixel_pitch_mm: float | None) -> NDArray[np.float64]:
        """The corners in the image in px, float64 [N, 2]; mm need the recipe's frame and pitch."""
        if self.polygon_mm is None:
            return np.array(self.polygon_px, dtype=np.float64)
        if frame is None or pixel_pitch_mm is None:
            raise ValueError("a polygon in mm needs a part frame and a pixel pitch")
        # to 1e-6 px: else rounding errors decide about a pixel centre on a side
        return np.array([frame.to_px(each, pixel_pitch_mm) for each in self.polygon_mm]).round(6)


class Zone(ExtraRules, Region):
    """An area of the image with limits of its own, in addition to those of the whole recipe."""

    review: ExtraRules | None = None
    """Limits beyond which the part is reviewed rather than failed."""

    def is_empty(self) -> bool:
        """Whether nothing is limited."""
        return self.review is None and super().is_empty()


class PartRegion(Region):
    """The polygon of the part as found in one image, in place of `roi: part`."""


class PartRule(Strict):
    """How to find the part's outline in each image, and how far inside it defects count."""

    margin_px: Size | None = None
    """How far to shrink the outline, in px; give this or `margin_mm`. Default: 0."""
    margin_mm: Size | None = None
    """How far to shrink the outline, in mm."""
    background: Literal["dark", "bright"] = "dark"
    """Whether the background is darker or brighter than the part."""
    min_share: Annotated[float, Field(ge=0.05, le=1)] = 0.25
    """The smallest share of the image that the part may cover; below it, it counts as not found."""
    max_share: Annotated[float, Field(ge=0.05, le=1)] = 1.0
    """The largest share of the image that the part may cover; above it, it counts as not found."""

    @model_validator(mode="after")
    def _is_possible(self) -> "PartRule":
        if self.margin_px is not None and self.margin_mm is not None:
            raise ValueError("has two margins; set only one of margin_px and margin_mm")
        if self.min_share > self.max_share:
            raise ValueError("min_share is above max_share, so no part would be found")
        return self

    def margin(self, pixel_pitch_mm: float | None) -> float:
        """The margin in px; a margin in mm needs the recipe's pitch."""
        if self.margin_mm is None:
            return self.margin_px or 0.0
        if pixel_pitch_mm is None:
            raise ValueError("a margin in mm needs a pixel pitch")
        return min(self.margin_mm / pixel_pitch_mm, FAR_PX)


class PartRoi(Strict):
    """The region of interest is the part, wherever it lies in the image."""

    part: PartRule
    """How to find the part; plain `roi: part` uses the defaults."""


Regions = Annotated[list[Region], Field(max_length=MAX_REGIONS)]
_REGIONS = TypeAdapter(Regions)


def _one_form(value: Any, _: ValidatorFunctionWrapHandler) -> list[Region] | PartRoi:
    """Validate a `roi` by its form only, so that errors of the other forms are not reported."""
    if value == "part":
        return PartRoi(part=PartRule())
    if isinstance(value, dict | PartRoi):
        return PartRoi.model_validate(value)
    if not isinstance(value, list):
        raise ValueError("must be a list of polygons, `part`, or `{part: {...}}`")
    return _REGIONS.validate_python(value)


Roi = Annotated[
    list[Region] | PartRoi,
    WrapValidator(_one_form, json_schema_input_type=Regions | Literal["part"] | PartRoi),
]

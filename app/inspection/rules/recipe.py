"""Recipes: the acceptance rules of one product, read from YAML or JSON and fully validated."""

import math
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from app.inspection.errors import RecipeInvalid, RecipeUnknown
from app.inspection.results import Severity
from app.inspection.rules.geometry import (
    MAX_POINTS_IN_ALL,
    MAX_REGIONS,
    Calibration,
    PartFrame,
    PartRoi,
    Region,
    Regions,
    Roi,
    Zone,
)
from app.inspection.rules.limits import (
    Density,
    ExtraRules,
    Limits,
    Pitch,
    Place,
    Rules,
    Size,
    Strict,
    misplaced,
)
from app.inspection.rules.part_model import PartRule
from app.inspection.rules.recipe_text import Document, describe, field_at, read_document
from app.inspection.rules.trade_off import PointChoice

__all__ = [
    "Calibration",
    "Density",
    "ExtraRules",
    "Limits",
    "PartFrame",
    "PartRoi",
    "PointChoice",
    "Recipe",
    "Region",
    "Written",
    "Zone",
    "check_classes",
    "describe",
    "load_recipe",
    "no_class",
    "parse_recipe",
    "read_recipe",
    "recipe_schema",
    "unknown_classes",
]

ZoneName = Annotated[str, Field(max_length=100)]
SignificantBits = Annotated[int, Field(ge=8, le=16)]
MAX_DESCRIPTION_CHARS = 4000
LARGEST_AREA_PX = 2**31  # larger than any image; larger areas could overflow


class Titled(Strict):
    """Name and description; a separate base class, so that they come first when a recipe is written."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    """The name in requests and answers."""
    description: Annotated[str, Field(max_length=MAX_DESCRIPTION_CHARS)] = ""
    """Free text for people."""

    @field_validator("name")
    @classmethod
    def _can_be_an_address(cls, name: str) -> str:
        if name in (".", ".."):  # clients remove these from a URL before sending it
            raise ValueError("no address ends in . or ..; use another name")
        if any(unicodedata.category(letter) == "Cc" for letter in name):  # no request can name it
            raise ValueError("has a control character, such as a line break; leave it out")
        return name


class Recipe(Rules, Titled):
    """Acceptance rules of one product; `other` applies to each class that `limits` does not name.

    By default, no defect of a class that the recipe does not name is accepted.
    """

    significant_bits: SignificantBits | None = None
    """Significant bits of a 16-bit image, if neither the request nor the file states them."""
    calibration: Calibration | None = None
    """Two points at a known distance, which give the pixel pitch."""
    pixel_pitch_mm: Pitch | None = Field(default=None, validate_default=True)
    """Pixel pitch: mm on the part per pixel; give this or `calibration`."""
    part_frame: PartFrame | None = None
    """The part's coordinate system in the image, for polygons in mm."""
    roi: Roi = Field(default_factory=list)
    """Only these regions are inspected (default: all); `part`: the part as found in the image."""
    ignore: Regions = Field(default_factory=list)
    """Regions that are not inspected."""
    min_area_px: Annotated[int, Field(ge=1, le=LARGEST_AREA_PX)] | None = None
    """The least area of a defect in pixels; smaller regions are not defects. Default: the bundle's."""
    min_area_mm2: Size | None = None
    """The least area of a defect in mm2; give this or `min_area_px`."""
    other: Limits = Limits(max_count=0)
    """Limits of each class that neither `limits` nor `severities` covers."""
    operating_point: PointChoice | None = None
    """An image threshold other than the bundle's own."""
    review: ExtraRules | None = None
    """Limits beyond which the part is reviewed rather than failed."""
    zones: Annotated[dict[ZoneName, Zone], Field(max_length=MAX_REGIONS)] = Field(default_factory=dict)
    """Areas of the image with limits of their own, by name."""
    border: Literal["judge", "review"] = "judge"
    """With `review`, a defect at the image border causes at least a review: it may continue outside."""
    min_estimated_dice: Annotated[float, Field(ge=0, le=1)] | None = None
    """The smallest estimated Dice with which an image may pass; below it, the image is reviewed."""
    parts: PartRule = "worst"
    """How several images of a part give its verdict: by the worst verdict, or by the joint probability.

    `joint` is for repeated images of one view, such as exposures, and for recipes that accept no defect.
    """

    @field_validator("pixel_pitch_mm")
    @classmethod
    def _follows_from_calibration(cls, pitch: float | None, info: ValidationInfo) -> float | None:
        calibration: Calibration | None = info.data.get("calibration")
        if calibration is None:
            return pitch
        if pitch not in (None, calibration.pixel_pitch_mm):
            raise ValueError(
                f"calibration gives {calibration.pixel_pitch_mm:g} mm per pixel; set only one of the two"
            )
        return calibration.pixel_pitch_mm

    @model_validator(mode="after")
    def _has_one_least_area(self) -> "Recipe":
        if self.min_area_mm2 is None:
            return self
        if self.min_area_px is not None:
            raise misplaced("gives the least area too; set only one of the two", "min_area_mm2")
        if self.pixel_pitch_mm is None:
            raise misplaced(
                "is in mm2, but there is no pixel_pitch_mm or calibration; set one of them, or min_area_px",
                "min_area_mm2",
            )
        return self

    @property
    def least_area_px(self) -> int | None:
        """The least area of a defect in whole pixels; None if the bundle's applies."""
        if self.min_area_mm2 is None or self.pixel_pitch_mm is None:
            return self.min_area_px
        # the slack keeps a region exactly at the limit a defect, despite rounding errors
        in_px = self.min_area_mm2 / self.pixel_pitch_mm**2 - 1e-6
        return max(1, math.ceil(min(in_px, LARGEST_AREA_PX)))

    @model_validator(mode="after")
    def _has_pitch_for_mm(self) -> "Recipe":
        in_mm = [(*place, *field) for place, limits in self.sets() for field in limits.in_mm]
        if isinstance(self.roi, PartRoi) and self.roi.part.margin_mm is not None:
            in_mm.insert(0, ("roi", "part", "margin_mm"))
        if in_mm and self.pixel_pitch_mm is None:
            raise misplaced(
                "is in mm, but there is no pixel_pitch_mm or calibration; set one of them, or limits in px",
                *in_mm[0],
            )
        return self

    @model_validator(mode="after")
    def _joint_accepts_no_defect(self) -> "Recipe":
        """The joint probability is that of any defect anywhere: it ignores regions and limits."""
        if self.parts == "worst":
            return self
        if self.roi or self.ignore:
            raise misplaced("joint counts the whole image; leave roi and ignore out, or use worst", "parts")
        if self.min_area_px or self.min_area_mm2:
            raise misplaced("joint is calibrated with the bundle's least area; leave min_area_* out", "parts")
        for place, limits in (*super().sets(), (("other",), self.other)):
            if limits.max_count != 0:
                raise misplaced("must be max_count: 0, since parts: joint accepts no defect", *place)
        return self

    @model_validator(mode="after")
    def _has_frame_for_polygons_in_mm(self) -> "Recipe":
        in_mm = [(*place, "polygon_mm") for place, region in self._regions() if region.polygon_mm is not None]
        if in_mm and (self.part_frame is None or self.pixel_pitch_mm is None):
            raise misplaced(
                "needs part_frame, and pixel_pitch_mm or calibration; set both, or give the polygon in px",
                *in_mm[0],
            )
        return self

    @model_validator(mode="after")
    def _has_few_points(self) -> "Recipe":
        points = sum(len(region.polygon_px or region.polygon_mm or ()) for _, region in self._regions())
        if points > MAX_POINTS_IN_ALL:
            raise ValueError(
                f"the polygons have {points} points; at most {MAX_POINTS_IN_ALL} are allowed in all of roi,"
                " ignore and zones"
            )
        return self

    @property
    def polygons(self) -> list[Region]:
        """The polygons of `roi`; an empty list if `roi` is the part."""
        return [] if isinstance(self.roi, PartRoi) else self.roi

    def limits_of(self, defect_class: str, severity: Severity | None = None) -> Limits:
        """The limits in force for a class, given its severity in the bundle."""
        return self.named(defect_class, severity) or self.other

    def sets(self) -> Iterator[tuple[Place, Limits]]:
        """Every set of limits in the recipe, with its place."""
        yield from super().sets()
        yield ("other",), self.other
        for place, rules in self._extra():
            yield from (((*place, *below), limits) for below, limits in rules.sets())

    def _extra(self) -> Iterator[tuple[Place, ExtraRules]]:
        if self.review is not None:
            yield ("review",), self.review
        for name, zone in self.zones.items():
            yield ("zones", name), zone
            if zone.review is not None:
                yield ("zones", name, "review"), zone.review

    def _regions(self) -> Iterator[tuple[Place, Region]]:
        yield from ((("roi", number), each) for number, each in enumerate(self.polygons))
        yield from ((("ignore", number), each) for number, each in enumerate(self.ignore))
        yield from ((("zones", name), each) for name, each in self.zones.items())


@dataclass(frozen=True, slots=True)
class Written:
    """A recipe with the text it was read from, so that later errors can name the line."""

    recipe: Recipe
    source: str
    document: Document


def load_recipe(path: Path) -> Written:
    """Read a recipe file; raises RecipeUnknown if it is missing, RecipeInvalid if it is invalid."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RecipeUnknown(f"there is no recipe file {path.name} in {path.parent}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeInvalid(f"{path.name}: cannot be read as UTF-8 text: {error}") from error
    return read_recipe(text, path.name)


def parse_recipe(text: str, source: str) -> Recipe:
    """As `read_recipe`, but return the recipe only."""
    return read_recipe(text, source).recipe


def read_recipe(text: str, source: str) -> Written:
    """Parse YAML, or JSON if the text starts with a brace.

    Raises RecipeInvalid with `source` and the line and field of each error.
    """
    document = read_document(text, source)
    if not isinstance(document.content, dict):
        raise RecipeInvalid(f"{source}: line 1: must be a mapping with at least a `name`")
    try:
        return Written(Recipe.model_validate(document.content), source, document)
    except ValidationError as error:
        raise RecipeInvalid(f"{source}: {describe(error, document.line_of)}") from error


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of recipes, for editors and forms."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:passline:recipe"}
    return schema | Recipe.model_json_schema()


def check_classes(recipe: Recipe, classes: Iterable[str]) -> None:
    """Raise RecipeInvalid if the recipe sets limits for a class that does not exist, such as a typo."""
    known = tuple(classes)
    unknown = [field_at(place, None) for place in unknown_classes(recipe, known)]
    if unknown:
        raise RecipeInvalid(f"recipe {recipe.name}: {', '.join(unknown)}: {no_class(known)}")


def unknown_classes(recipe: Recipe, classes: Iterable[str]) -> list[Place]:
    """The places where a recipe sets limits for a class that is not in `classes`."""
    known = set(classes)
    places = (place for place, _ in recipe.sets() if place[-2:-1] == ("limits",))
    return [place for place in places if place[-1] not in known]


def no_class(classes: Iterable[str]) -> str:
    """The error text for limits of a class that is not in `classes`."""
    return f"no defect class of this model; its classes are {', '.join(classes)}"

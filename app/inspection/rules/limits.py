"""Acceptance limits for a defect class: by name, by severity, or for all other classes."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.inspection.results import Severity

MAX_CLASSES = 254  # of a model: label maps have a byte for each pixel
ClassName = Annotated[str, Field(max_length=64)]
Count = Annotated[int, Field(ge=0, le=10**9)]
Size = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# mm per pixel, from a nanometre to a metre; beyond it, sizes in mm could overflow.
LEAST_PITCH_MM, LARGEST_PITCH_MM = 1e-6, 1e3
Pitch = Annotated[float, Field(ge=LEAST_PITCH_MM, le=LARGEST_PITCH_MM)]
Place = tuple[str | int, ...]


class Strict(BaseModel):
    """Base of all models of a recipe: frozen, without type conversion; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


def misplaced(message: str, *place: str | int) -> PydanticCustomError:
    """An error for checks across fields that names the field at `place` below the model."""
    return PydanticCustomError("misplaced", "{message}", {"message": message, "place": place})


class Density(Strict):
    """The most defects that a square window of one size may contain at any position."""

    count: Count
    """The most defects of the class whose centroids may lie in one window."""
    window_px: Positive | None = None
    """Side of the window in px; give this or `window_mm`."""
    window_mm: Positive | None = None
    """Side of the window in mm."""

    @model_validator(mode="after")
    def _has_one_window(self) -> "Density":
        if (self.window_px is None) == (self.window_mm is None):
            raise ValueError("needs a window: set one of window_px and window_mm")
        return self


class Limits(Strict):
    """Acceptance limits for one defect class; a value equal to the limit is accepted."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    max_count: Count | None = None
    """The most defects of the class."""
    max_area_px: Size | None = None
    """The largest area of one defect, in pixels."""
    max_area_mm2: Size | None = None
    """The largest area of one defect, in mm2."""
    max_length_px: Size | None = None
    """The greatest length of one defect, in px."""
    max_length_mm: Size | None = None
    """The greatest length of one defect, in mm."""
    max_width_px: Size | None = None
    """The greatest width of one defect, in px."""
    max_width_mm: Size | None = None
    """The greatest width of one defect, in mm."""
    max_total_area_px: Size | None = None
    """The largest area of all defects of the class together, in pixels."""
    max_total_area_mm2: Size | None = None
    """The largest area of all defects of the class together, in mm2."""
    min_distance_px: Size | None = None
    """The smallest gap between a defect of the class and any other defect, in px."""
    min_distance_mm: Size | None = None
    """The smallest gap between a defect of the class and any other defect, in mm."""
    max_density: Density | None = None
    """The most defects of the class in any window of a given size."""

    @model_validator(mode="after")
    def _sets_something(self) -> "Limits":
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise ValueError("sets no limit; set at least one of " + ", ".join(type(self).model_fields))
        return self

    @property
    def in_mm(self) -> tuple[Place, ...]:
        """The limits in millimetres, which need a pixel pitch."""
        named = (name for name in type(self).model_fields if name.endswith(("_mm", "_mm2")))
        found: list[Place] = [(name,) for name in named if getattr(self, name) is not None]
        if self.max_density is not None and self.max_density.window_mm is not None:
            found.append(("max_density", "window_mm"))
        return tuple(found)


class Rules(Strict):
    """Limits by class and, for classes not named, by their severity in the bundle."""

    limits: Annotated[dict[ClassName, Limits], Field(max_length=MAX_CLASSES)] = Field(default_factory=dict)
    """Limits of the classes named here."""
    severities: dict[Severity, Limits] = Field(default_factory=dict)
    """Limits by severity, for each class that `limits` does not name."""

    def named(self, defect_class: str, severity: Severity | None) -> Limits | None:
        """The limits of a class: by name, else by severity, else None."""
        by_severity = None if severity is None else self.severities.get(severity)
        return self.limits.get(defect_class) or by_severity

    def sets(self) -> Iterator[tuple[Place, Limits]]:
        """Every set of limits with its place below this model."""
        yield from ((("limits", name), each) for name, each in self.limits.items())
        yield from ((("severities", name), each) for name, each in self.severities.items())


class ExtraRules(Rules):
    """Limits in addition to those of the whole recipe, only for the classes they mention."""

    other: Limits | None = None
    """Limits of each class that `limits` and `severities` do not cover; without it, no limits."""

    def limits_of(self, defect_class: str, severity: Severity | None = None) -> Limits | None:
        """The limits in force for a class; None without any."""
        return self.named(defect_class, severity) or self.other

    def sets(self) -> Iterator[tuple[Place, Limits]]:
        """Every set of limits with its place below this model."""
        yield from super().sets()
        if self.other is not None:
            yield ("other",), self.other

    @model_validator(mode="after")
    def _covers_something(self) -> "ExtraRules":
        if self.is_empty():
            raise ValueError("sets no limits; set at least one of limits, severities, other")
        return self

    def is_empty(self) -> bool:
        """Whether nothing is limited, which is surely a mistake."""
        return not any(True for _ in self.sets())

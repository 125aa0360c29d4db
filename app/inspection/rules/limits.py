"""Limits: what is accepted of a defect class, by its name, by its severity, or of any other class."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.inspection.results import Severity

Count = Annotated[int, Field(ge=0)]
Size = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# mm per pixel, from a nanometre to a metre: beyond it sizes in mm are no numbers any more.
LEAST_PITCH_MM, LARGEST_PITCH_MM = 1e-6, 1e3
Pitch = Annotated[float, Field(ge=LEAST_PITCH_MM, le=LARGEST_PITCH_MM)]
Place = tuple[str | int, ...]


class Strict(BaseModel):
    """Base of everything in a recipe: frozen, no value is bent to fit, and an unknown key is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


def misplaced(message: str, *place: str | int) -> PydanticCustomError:
    """What a check across fields raises, so that the error names the field at `place` below the model."""
    return PydanticCustomError("misplaced", "{message}", {"message": message, "place": place})


class Density(Strict):
    """The most defects that any square window of one size may hold, wherever it lies."""

    count: Count
    """Defects of the class whose centroids lie in one window."""
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
    """What is accepted of one defect class; exactly at a limit is accepted, too."""

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
    """The least gap between a defect of the class and the nearest other defect of any class, in px."""
    min_distance_mm: Size | None = None
    """The least gap between a defect of the class and the nearest other defect of any class, in mm."""
    max_density: Density | None = None
    """The most defects of the class that lie close together."""

    @model_validator(mode="after")
    def _sets_something(self) -> "Limits":
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise ValueError("sets no limit; set at least one of " + ", ".join(type(self).model_fields))
        return self

    @property
    def in_mm(self) -> tuple[Place, ...]:
        """The limits that are in millimetres, so that a pixel pitch is needed."""
        named = (name for name in type(self).model_fields if name.endswith(("_mm", "_mm2")))
        found: list[Place] = [(name,) for name in named if getattr(self, name) is not None]
        if self.max_density is not None and self.max_density.window_mm is not None:
            found.append(("max_density", "window_mm"))
        return tuple(found)


class Rules(Strict):
    """Limits by class and, for classes that are not named, by the severity the bundle gives them."""

    limits: dict[str, Limits] = Field(default_factory=dict)
    """Limits of the classes named here."""
    severities: dict[Severity, Limits] = Field(default_factory=dict)
    """Limits of each class of a severity that `limits` does not name."""

    def named(self, defect_class: str, severity: Severity | None) -> Limits | None:
        """The limits of a class by its name, else by its severity."""
        by_severity = None if severity is None else self.severities.get(severity)
        return self.limits.get(defect_class) or by_severity

    def sets(self) -> Iterator[tuple[Place, Limits]]:
        """Every set of limits with its place below this model."""
        yield from ((("limits", name), each) for name, each in self.limits.items())
        yield from ((("severities", name), each) for name, each in self.severities.items())


class ExtraRules(Rules):
    """Limits beside those of the whole recipe: what they do not mention they leave alone."""

    other: Limits | None = None
    """Limits of each class that neither `limits` nor `severities` covers; without it, none."""

    def limits_of(self, defect_class: str, severity: Severity | None = None) -> Limits | None:
        """The limits in force for a class, if any."""
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
        """Whether nothing is limited, which nobody writes down on purpose."""
        return not any(True for _ in self.sets())

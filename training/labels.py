"""What a configuration says of the labels of a set."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class LabelsConfig(BaseModel):
    """How the labels of a set are to be read, where its files do not say it themselves.

    In `classes` and `mask_values`, `good` means that what is marked is no defect, and `ignore` that its
    pixels count in no loss and no figure.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: dict[str, str] = Field(default={}, description="class in the set: class of the bundle")
    mask_values: dict[int, str] = Field(
        default={},
        description="value of the masks: class in the set, or `marked` for the class that the folder names",
    )
    mask_threshold: int | None = Field(
        default=None, ge=1, le=255, description="grey masks of soft edges: a defect from this value on"
    )
    unlisted: Literal["refuse", "good"] = Field(
        default="refuse", description="images that no annotation file names"
    )
    source: str | None = Field(
        default=None, min_length=1, description="the public set that this is, for the model card"
    )

    @model_validator(mode="after")
    def _masks_have_one_meaning(self) -> Self:
        if self.mask_values and self.mask_threshold is not None:
            raise ValueError("mask_values and mask_threshold exclude each other; set only one")
        return self

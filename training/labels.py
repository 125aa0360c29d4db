"""The configuration of a data set's labels."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class LabelsConfig(BaseModel):
    """How the labels of a data set are read, if its files do not say so.

    In `classes` and `mask_values`, `good` means that marked pixels are not a defect, and `ignore` that they
    count in no loss and no figure.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: dict[str, str] = Field(default={}, description="class of the data set: class of the bundle")
    mask_values: dict[int, str] = Field(
        default={},
        description="value in masks: class of the data set, or `marked` for the class of the folder",
    )
    mask_threshold: int | None = Field(
        default=None, ge=1, le=255, description="for grey masks with soft edges: least value of a defect"
    )
    unlisted: Literal["refuse", "good"] = Field(
        default="refuse", description="treatment of images without an entry in the annotation file"
    )
    source: str | None = Field(
        default=None, min_length=1, description="name of the public data set, for the model card"
    )

    @model_validator(mode="after")
    def _masks_have_one_meaning(self) -> Self:
        if self.mask_values and self.mask_threshold is not None:
            raise ValueError("mask_values and mask_threshold exclude each other; set only one")
        return self

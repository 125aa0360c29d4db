"""Shapes of the history: rows, pages, one inspection with everything known of it."""

import binascii
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, field_validator

from app.inspection.results import Verdict
from app.schemas.inspections import InspectionAnswer, Label, Shape

TrueVerdict = Literal["pass", "fail"]  # of a person, who does not answer `review`


class ReviewAnswer(Shape):
    """One person's decision about an inspection."""

    number: int
    verdict: TrueVerdict
    classes: tuple[str, ...] = Field(description="Defect classes that the image really shows.")
    who: str
    time: AwareDatetime
    comment: str | None
    corrected: bool = Field(description="Whether the review has a mask of its own.")
    withdrawn: bool = Field(description="Whether it has been taken back.")


class Row(Shape):
    """One inspection in a list."""

    id: str
    time: AwareDatetime
    camera_id: str | None
    part_id: str | None
    filename: str | None
    recipe: str
    recipe_version: int
    bundle: str
    bundle_version: str
    artifact: str
    execution_provider: str
    verdict: Verdict
    defects: int = Field(description="Number of defects.")
    classes: tuple[str, ...] = Field(description="Their classes.")
    image_probability: float
    image_threshold: float
    dice_estimated: float | None
    width: int
    height: int
    total_ms: float
    key: str | None = Field(description="Name of the API key or user; null if none was needed.")
    has_image: bool = Field(description="Whether the image is kept.")
    has_mask: bool
    review: ReviewAnswer | None = Field(description="The review in force; null if there is none.")
    queue_reason: str | None = Field(description="Why a person should look at it; null: nobody needs to.")


class InspectionsPage(Shape):
    """A page of rows, newest first; `next` is the cursor of the following page, null on the last one."""

    items: list[Row]
    next: str | None


class ChainPlace(Shape):
    """The row's place in the chain of hashes of its box."""

    box: str
    position: int
    hash: str


class InspectionDetail(Shape):
    """One inspection with everything that is kept of it; the answer's mask is `none`."""

    row: Row
    answer: InspectionAnswer
    request_id: str
    image_sha256: str
    mask_sha256: str = Field(description="Of the label map, uint8, row by row.")
    manifest_sha256: str = Field(description="Of the bundle's `bundle.json`.")
    pixel_format: str | None
    sample_weight: float | None
    chain: ChainPlace
    reviews: list[ReviewAnswer]


class ReviewAsked(Shape):
    """A person's decision about an inspection."""

    verdict: TrueVerdict = Field(description="What the part really is.")
    classes: Annotated[tuple[Label, ...], Field(max_length=64)] = Field(
        default=(), description="Defect classes that the image really shows; unset: those of the mask."
    )
    mask: str | None = Field(
        default=None,
        description="The right mask, a PNG of the image's size in base64: 0 is background, k the k-th class."
        " null: the mask of the inspection counts where it has the same classes.",
    )
    comment: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    supersedes: int | None = Field(
        default=None, description="Number of the review in force that this one replaces."
    )

    @field_validator("mask")
    @classmethod
    def _is_base64(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                binascii.a2b_base64(text, strict_mode=True)
            except binascii.Error as error:
                raise ValueError(f"is not base64: {error}") from error
        return text

    def mask_png(self) -> bytes:
        """The mask as a file; there must be one."""
        return binascii.a2b_base64(self.mask or "")


class QueueItem(Shape):
    """An inspection that a person should look at."""

    row: Row
    reason: str = Field(description="`verdict`, `shadow`, `near_threshold`, `low_dice` or `sample`.")
    rank: float = Field(description="The highest is the most urgent.")
    claimed_by: str | None
    claimed_until: AwareDatetime | None


class ReviewQueue(Shape):
    """What waits, the most urgent first; `waiting` counts all."""

    items: list[QueueItem]
    waiting: int


class ClaimAsked(Shape):
    """How many inspections a person wants to look at."""

    count: Annotated[int, Field(ge=1, le=100)] = 1

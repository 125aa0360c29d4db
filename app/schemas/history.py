"""Shapes of the history: rows, pages, one inspection with everything known of it."""

from typing import Literal

from pydantic import AwareDatetime, Field

from app.inspection.results import Verdict
from app.schemas.inspections import InspectionAnswer, Shape

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

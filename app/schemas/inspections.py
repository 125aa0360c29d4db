"""Request and answer shapes; docs/api.md documents each field with its unit."""

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from app.inspection.bundle.artifact import OperatingPoint
from app.inspection.bundle.bundle import DefectClass, InputContract, TrainingSummary
from app.inspection.decoding.raw import FORMATS
from app.inspection.mask_formats import MaskFormat, Polygon, RunLengths
from app.inspection.results import Defect, EstimatedDice, ImageInfo, MeasuredDice, Part, Reason, Verdict
from app.inspection.rules.part_model import PartRule
from app.inspection.rules.part_verdict import PartReason
from app.inspection.rules.recipe import SignificantBits

# A text that clients choose: shown, logged, never interpreted, so only control characters are refused.
Label = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]


def _known(pixel_format: str) -> str:
    if pixel_format not in FORMATS:
        raise ValueError(f"is not supported; use one of {', '.join(FORMATS)}")
    return pixel_format


PixelFormat = Annotated[
    str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(FORMATS)})
]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]


class Shape(BaseModel):
    """Base of all shapes: an unknown key is refused, so that a misspelt one is not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


class Labels(Shape):
    """Labels of a request's images, as form fields or in the query."""

    recipe: Label | None = Field(
        default=None,
        description="Name of the recipe; unset: the one active for the part, else the camera, else all.",
    )
    part_id: Label | None = Field(default=None, description="The part in the image; returned unchanged.")
    camera_id: Label | None = Field(default=None, description="The camera that took it; returned unchanged.")
    significant_bits: SignificantBits | None = Field(
        default=None,
        description="Number of lowest bits of a 16-bit image that are used; unset: the recipe's.",
    )


class FrameOptions(Labels):
    """Parameters of raw frames in the query; a frame needs all but `stride`."""

    width: Count | None = Field(default=None, description="Pixels in a line of a raw frame.")
    height: Count | None = Field(default=None, description="Lines of a raw frame.")
    pixel_format: PixelFormat | None = Field(
        default=None, description="GenICam name of a raw frame's pixel format."
    )
    stride: Count | None = Field(
        default=None, description="Bytes from line to line of a raw frame; unset: lines have no padding."
    )


class Options(FrameOptions):
    """The query of an inspection: what the answer should contain, labels, and a raw frame's parameters."""

    mask: MaskFormat = Field(default="png", description="Format of the mask in the answer.")
    overlay: bool = Field(
        default=False, description="Whether to add the image with the defects drawn in, as PNG."
    )
    heatmap: bool = Field(
        default=False, description="Whether to add the image coloured by the probability of any defect."
    )
    certificate: bool = Field(
        default=False, description="Whether to add the results as an HTML page, to print or archive."
    )


class SingleOptions(Options):
    """The query of one image's inspection."""

    format: Literal["json", "certificate"] = Field(
        default="json",
        description="Format of the answer: `json`, or only the `certificate`. `Accept` is ignored.",
    )


class BatchOptions(Options):
    """The query of a batch, without overlays and the like: its answer would hold those of all images."""

    overlay: bool = Field(default=False, description="Only `false`: overlays are for one image at a time.")
    heatmap: bool = Field(default=False, description="Only `false`: heat maps are for one image at a time.")
    certificate: bool = Field(default=False, description="Only `false`, for the same reason.")

    @field_validator("overlay", "heatmap", "certificate")
    @classmethod
    def _one_at_a_time(cls, wanted: bool, info: ValidationInfo) -> bool:
        if wanted:
            those = {"overlay": "overlays", "heatmap": "heat maps"}.get(str(info.field_name), "certificates")
            raise ValueError(f"a batch has no {those}; ask for them one image at a time")
        return wanted


class MaskPng(Shape):
    """A single-channel PNG of the image's size, in base64: 0 is background, k the k-th class."""

    format: Literal["png"]
    data: str


class MaskRle(Shape):
    """COCO's compressed run-length encoding, one entry for each class that has defects."""

    format: Literal["rle"]
    data: list[RunLengths]


class MaskPolygons(Shape):
    """One polygon with its holes for each connected region."""

    format: Literal["polygons"]
    data: list[Polygon]


class MaskNone(Shape):
    """No mask was asked for."""

    format: Literal["none"]
    data: None


Mask = Annotated[MaskPng | MaskRle | MaskPolygons | MaskNone, Field(discriminator="format")]


class DiceAnswer(Shape):
    """Measured and estimated Dice, kept apart."""

    measured: MeasuredDice | None
    estimated: EstimatedDice


class ModelUsed(Shape):
    """The model that inspected the image; `execution_provider` is the one really active."""

    name: str
    version: str
    artifact: str
    execution_provider: str


class InspectionAnswer(Shape):
    """The result of one image."""

    id: str
    verdict: Verdict
    reasons: tuple[Reason, ...]
    defects: tuple[Defect, ...]
    mask: Mask
    dice: DiceAnswer
    image: ImageInfo
    model: ModelUsed
    timings_ms: dict[str, float]
    image_probability: float
    image_threshold: float
    head_probability: float
    unexplained_probability: float | None
    head_threshold: float
    recipe: str
    recipe_version: int
    part_id: str | None
    camera_id: str | None
    gate_scores: dict[str, float] | None = Field(description="Scores of the input gate; null without one.")
    part: Part | None = Field(
        default=None, description="The part found, with `roi: part` in the recipe; else null."
    )
    overlay: str | None = Field(default=None, description="PNG, base64; null unless asked for.")
    heatmap: str | None = Field(default=None, description="PNG, base64; null unless asked for.")
    certificate: str | None = Field(default=None, description="HTML; null unless asked for.")


class WrongFieldAnswer(Shape):
    """One invalid field."""

    field: str
    message: str


class Cause(Shape):
    """The error that causes a `not_ready`."""

    code: str
    detail: str


class Problem(Shape):
    """An RFC 9457 problem; `code` is the stable name, documented in docs/errors.md."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    request_id: str
    fields: list[WrongFieldAnswer] | None = None
    cause: Cause | None = None


class BatchItem(Shape):
    """One image of a batch: either its inspection or its problem."""

    filename: str | None
    inspection: InspectionAnswer | None
    problem: Problem | None


class BatchCounts(Shape):
    """Number of images of a batch by result."""

    images: int
    passed: int
    failed: int
    review: int
    problems: int


class BatchAnswer(Shape):
    """One result for each image, in the order they were sent."""

    counts: BatchCounts
    results: list[BatchItem]


class PartAnswer(Shape):
    """One verdict for a part, and the result of each of its images in the order they were sent.

    `defect_probability` and `part_threshold` are null for the rule `worst`.
    """

    part_id: str
    verdict: Verdict
    reasons: tuple[PartReason, ...]
    rule: PartRule
    defect_probability: float | None
    part_threshold: float | None
    recipe: str
    recipe_version: int
    camera_id: str | None
    model: ModelUsed
    images: list[BatchItem]


class Health(Shape):
    """The process is alive."""

    status: Literal["ok"]


class Readiness(Shape):
    """The service is ready, with this model."""

    status: Literal["ready"]
    model: ModelUsed


class ModelAnswer(Shape):
    """The bundle being served."""

    name: str
    version: str
    created: str
    description: str
    artifact: str
    execution_provider: str
    classes: tuple[DefectClass, ...]
    input: InputContract
    operating_point: OperatingPoint
    recipes: list[str]
    default_recipe: str
    training: TrainingSummary

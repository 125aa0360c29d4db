"""The answer for a part that is shown by several images."""

from app.inspection.results import Verdict
from app.inspection.rules.part_model import PartRule
from app.inspection.rules.part_verdict import PartReason
from app.schemas.inspections import BatchItem, ModelUsed, Shape


class PartAnswer(Shape):
    """One verdict for a part, and what became of each of its images in the order they were sent.

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

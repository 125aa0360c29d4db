"""From the verdicts of a part's images to the verdict of the part."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from app.inspection.results import Rule, Verdict
from app.inspection.rules.part_model import PartModel

PartReasonRule = Literal["image_failed", "image_reviewed", "image_not_inspected", "joint_probability"]
# An image stopped for one of these is unlike those the model knows, or does not show the part.
UNTRUSTED: frozenset[Rule] = frozenset(
    ("blur", "exposure", "saturation", "size", "product", "part_not_found")
)


@dataclass(frozen=True, slots=True)
class ImageResult:
    """What became of one image of a part; `verdict` is None where it could not be inspected.

    `rules` are those of the image's reasons, `problem` the code of what prevented its inspection.
    """

    verdict: Verdict | None
    image_probability: float = 0.0
    rules: tuple[Rule, ...] = ()
    problem: str | None = None

    @property
    def is_trusted(self) -> bool:
        """Whether its image probability may count for the part."""
        return self.verdict is not None and UNTRUSTED.isdisjoint(self.rules)


@dataclass(frozen=True, slots=True)
class PartReason:
    """Why a part does not pass: because of one image, or of the joint probability.

    `image` is the image's place, from 0, and `rules` are those of its reasons; `problem` is the code of what
    prevented its inspection. `measured` and `limit` are the joint probability and its threshold, None for an
    image. `verdict` is what the reason calls for by itself.
    """

    rule: PartReasonRule
    verdict: Literal["fail", "review"]
    image: int | None = None
    rules: tuple[Rule, ...] = ()
    problem: str | None = None
    measured: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class PartVerdict:
    """A part's verdict with its reasons: those to fail first, then those to review, each in image order.

    `defect_probability` is the joint one, None for the rule `worst` and where no image can be trusted.
    """

    verdict: Verdict
    reasons: tuple[PartReason, ...]
    defect_probability: float | None = None


def judge_part(images: Sequence[ImageResult], model: PartModel | None) -> PartVerdict:
    """Judge a part by the rule `joint` where a part model is given, else by the rule `worst`.

    `worst`: the worst verdict of its images. `joint`: `fail` where the joint probability reaches the part
    threshold; below it an image that fails makes a `review`. By both an image that could not be inspected is
    one to review. A part passes only if each of its images does.
    """
    if not images:
        raise ValueError("a part needs at least one image")
    reasons = [
        _reason(place, each, by_itself=model is None)
        for place, each in enumerate(images)
        if each.verdict != "pass"
    ]
    probability = None
    trusted = [each.image_probability for each in images if each.is_trusted]
    if model is not None and trusted:
        probability = model.probability(trusted)
        if probability >= model.part_threshold:
            joint = PartReason("joint_probability", "fail", measured=probability, limit=model.part_threshold)
            reasons.insert(0, joint)
    ordered = tuple(sorted(reasons, key=lambda each: each.verdict != "fail"))
    return PartVerdict(ordered[0].verdict if ordered else "pass", ordered, probability)


def _reason(place: int, image: ImageResult, by_itself: bool) -> PartReason:
    """Why an image that does not pass matters; `by_itself`: a failing one fails its part."""
    if image.verdict is None:
        return PartReason("image_not_inspected", "review", place, problem=image.problem)
    if image.verdict == "fail":
        return PartReason("image_failed", "fail" if by_itself else "review", place, image.rules)
    return PartReason("image_reviewed", "review", place, image.rules)

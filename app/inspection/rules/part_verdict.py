"""The verdict of a part, from the results of its images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from app.inspection.results import Rule, Verdict
from app.inspection.rules.part_model import PartModel

PartReasonRule = Literal["image_failed", "image_reviewed", "image_not_inspected", "joint_probability"]
# An image with one of these reasons is unlike the training images, or does not show the part.
UNTRUSTED: frozenset[Rule] = frozenset(
    ("blur", "exposure", "saturation", "polarity", "grain", "size", "product", "part_not_found")
)


@dataclass(frozen=True, slots=True)
class ImageResult:
    """The result of one image of a part; `verdict` is None if it could not be inspected.

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
    """A reason why a part does not pass: one image, or the joint probability.

    `image` is the index of the image, from 0, and `rules` are those of its reasons; `problem` is the
    code of what prevented its inspection. `measured` and `limit` are the joint probability and its
    threshold, None for an image. `verdict` is the verdict that this reason alone would give.
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
    """A part's verdict with its reasons: fail before review, each in image order.

    `defect_probability` is the joint probability; None for the rule `worst` or if no image is trusted.
    """

    verdict: Verdict
    reasons: tuple[PartReason, ...]
    defect_probability: float | None = None


def judge_part(images: Sequence[ImageResult], model: PartModel | None) -> PartVerdict:
    """Give a part's verdict: by the rule `joint` if a part model is given, else by the rule `worst`.

    `worst`: the worst verdict of its images. `joint`: `fail` if the joint probability reaches the part
    threshold; below it, a failed image causes a `review`. With both rules an image that could not be
    inspected causes a `review`. A part passes only if each of its images passes. Raises ValueError
    without images.
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
    """The reason for an image that does not pass; `by_itself`: a failed image fails the part."""
    if image.verdict is None:
        return PartReason("image_not_inspected", "review", place, problem=image.problem)
    if image.verdict == "fail":
        return PartReason("image_failed", "fail" if by_itself else "review", place, image.rules)
    return PartReason("image_reviewed", "review", place, image.rules)

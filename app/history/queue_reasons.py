"""Which inspections a person should look at, why, and in which order; and the random sample.

The sample is drawn independently of everything else, with a probability known for each inspection, so that
rates estimated from its reviews are not biased by what is interesting.
"""

import random
from dataclasses import dataclass
from typing import Literal

from app.schemas.inspections import InspectionAnswer

QueueReason = Literal["verdict", "near_threshold", "low_dice", "shadow", "sample"]
# What is looked at first; the fraction below 1 orders those of one reason.
RANKS: dict[QueueReason, float] = {
    "verdict": 4,
    "shadow": 3,
    "near_threshold": 2,
    "low_dice": 1,
    "sample": 0,
}
NEAR = 0.05  # distance of the image probability to its threshold
LOW_DICE = 0.5


@dataclass(frozen=True, slots=True)
class SampleRates:
    """Probabilities that an inspection is drawn for the random sample, by its verdict."""

    of_pass: float
    of_others: float

    def of(self, verdict: str) -> float:
        """The probability for a verdict; that of `pass` is usually lower, because there are more."""
        return self.of_pass if verdict == "pass" else self.of_others


@dataclass(frozen=True, slots=True)
class Decision:
    """Why a person should look at an inspection, its rank, and its weight in the sample (1 / probability)."""

    reason: QueueReason | None
    rank: float | None
    sample_weight: float | None


def reason_of(answer: InspectionAnswer, chance: random.Random, rates: SampleRates) -> Decision:
    """Decide about one inspection; the sample is drawn whatever the other reasons say."""
    probability = rates.of(answer.verdict)
    drawn = chance.random() < probability
    weight = 1 / probability if drawn else None
    reason, urgency = _interesting(answer) or ("sample" if drawn else None, chance.random())
    rank = None if reason is None else RANKS[reason] + min(urgency, 0.999)
    return Decision(reason, rank, weight)


def _interesting(answer: InspectionAnswer) -> tuple[QueueReason, float] | None:
    distance = abs(answer.image_probability - answer.image_threshold)
    dice = answer.dice.estimated.any_defect
    if answer.verdict == "review":
        return "verdict", answer.image_probability
    if distance <= NEAR:
        return "near_threshold", 1 - distance / NEAR
    if answer.verdict == "fail" and dice is not None and dice < LOW_DICE:
        return "low_dice", 1 - dice / LOW_DICE
    return None

"""What an artifact may lose against fp32, measured on pictures that neither fit nor test split hold."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from app.inspection.inspector import Inspector
from app.inspection.results import Verdict
from training.datasets.sample import Sample
from training.evaluation.figures import mean
from training.evaluation.judged import judge_samples

MAX_DICE_LOSS = 0.005


@dataclass(frozen=True)
class Answers:
    """What an artifact answered of a set: mean Dice, verdicts by name, and which pictures are defective."""

    dice: float | None
    verdicts: dict[str, Verdict]
    defective: frozenset[str]

    @property
    def escapes(self) -> frozenset[str]:
        """The defective pictures that were passed."""
        return frozenset(name for name in self.defective if self.verdicts[name] == "pass")


def answers(parts: Iterable[tuple[Inspector, Sequence[Sample]]]) -> Answers:
    """Inspect samples as the service does; raises DatasetError naming one that is refused."""
    judged = [each for inspector, samples in parts for each in judge_samples(inspector, samples)]
    return Answers(
        dice=mean([each.dice for each in judged if each.dice is not None]),
        verdicts={each.name: each.verdict for each in judged},
        defective=frozenset(each.name for each in judged if each.defective),
    )


def held_against(found: Answers, reference: Answers) -> dict[str, Any]:
    """Return the losses against fp32, and under `beyond_budget` what is beyond the budget, in words."""
    loss = 0.0 if found.dice is None or reference.dice is None else round(reference.dice - found.dice, 4)
    new_escapes = len(found.escapes - reference.escapes)
    beyond = []
    if loss > MAX_DICE_LOSS:
        beyond.append(f"it loses {loss:.4f} of Dice (at most {MAX_DICE_LOSS})")
    if new_escapes:
        beyond.append(f"it passes {new_escapes} defective picture(s) that fp32 stops (none is allowed)")
    flips = sum(found.verdicts[name] != verdict for name, verdict in reference.verdicts.items())
    return {
        "pictures": len(reference.verdicts),
        "dice": found.dice,
        "dice_fp32": reference.dice,
        "dice_loss": loss,
        "new_escapes": new_escapes,
        "verdict_flips": flips,
        "beyond_budget": beyond,
    }

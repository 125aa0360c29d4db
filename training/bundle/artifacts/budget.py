"""The budget of an artifact: its allowed loss compared with fp32, on images of neither fit nor test split."""

from collections.abc import Iterable
from dataclasses import dataclass

from app.inspection.bundle.artifact import OperatingPoint
from app.inspection.mask_metrics import dice
from app.inspection.measuring.findings import unexplained
from app.inspection.measuring.regions import Scope
from app.inspection.results import Verdict
from training.evaluation.figures import mean
from training.statistics import Figures
from training.thresholds.operating_point import label_map
from training.thresholds.predictions import Scored

MAX_DICE_LOSS = 0.005
# Share of the defective images: rounding moves images at a threshold to the other side, in both directions.
MAX_NEW_ESCAPES = 0.01


@dataclass(frozen=True)
class ArtifactVerdicts:
    """An artifact's answers for a set: mean Dice, verdicts by name, and which images are defective."""

    dice: float | None
    verdicts: dict[str, Verdict]
    defective: frozenset[str]

    @property
    def escapes(self) -> frozenset[str]:
        """The defective images that passed."""
        return frozenset(name for name in self.defective if self.verdicts[name] == "pass")


def verdicts_of(scored: Iterable[Scored], point: OperatingPoint) -> ArtifactVerdicts:
    """The service's verdicts for scored images at an operating point, by a recipe without allowed defects."""
    overlaps: list[float | None] = []
    verdicts: dict[str, Verdict] = {}
    defective = set()
    for each in scored:
        found = label_map(each, point)
        head = unexplained(found, each.tiles, Scope(None))
        doubtful = head is not None and head >= point.head_threshold
        verdicts[each.label.name] = "fail" if found.any() else "review" if doubtful else "pass"
        if each.defective:
            defective.add(each.label.name)
            if (bits := each.bits) is not None and bits.any():
                overlaps.append(dice(found > 0, bits > 0))
    return ArtifactVerdicts(mean(overlaps), verdicts, frozenset(defective))


def losses_to(found: ArtifactVerdicts, reference: ArtifactVerdicts) -> Figures:
    """Return the losses compared with fp32, and as `beyond_budget` a text for each loss above the budget."""
    loss = 0.0 if found.dice is None or reference.dice is None else round(reference.dice - found.dice, 4)
    new_escapes = len(found.escapes - reference.escapes)
    beyond = []
    if loss > MAX_DICE_LOSS:
        beyond.append(f"it loses {loss:.4f} of Dice (at most {MAX_DICE_LOSS})")
    more = len(found.escapes) - len(reference.escapes)
    if more > 0:
        beyond.append(f"it passes {more} more defective image(s) than fp32 (none is allowed)")
    if new_escapes > MAX_NEW_ESCAPES * len(reference.defective):
        beyond.append(
            f"it passes {new_escapes} defective image(s) that fp32 stops "
            f"(at most {MAX_NEW_ESCAPES:.0%} of {len(reference.defective)})"
        )
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

"""From measured defects to a verdict, by the recipe and nothing else."""

from app.inspection.recipe import Limits, Recipe
from app.inspection.results import Defect, Reason, Rule, Unit, Verdict


def judge(
    defects: tuple[Defect, ...], recipe: Recipe, head_without_mask: Reason | None = None
) -> tuple[Verdict, tuple[Reason, ...]]:
    """Hold defects against a recipe: `fail` with a reason for every limit exceeded, else `pass`.

    Without any defect, `head_without_mask` makes it a `review`: the model saw something that no pixel shows.
    A tolerated defect explains it.
    The defects must have been measured with the recipe's pixel pitch. Tighter limits never turn fail to pass.
    """
    reasons: list[Reason] = []
    for name in dict.fromkeys(each.defect_class for each in defects):
        of_class = [each for each in defects if each.defect_class == name]
        reasons += _exceeded(name, of_class, recipe.limits_of(name))
    if reasons:
        return "fail", tuple(reasons)
    if head_without_mask is not None and not defects:
        return "review", (head_without_mask,)
    return "pass", ()


def head_reason(image_probability: float, image_threshold: float) -> Reason | None:
    """Why to review a picture without a defect, if its image probability reaches the threshold; else None."""
    if image_probability < image_threshold:
        return None
    return Reason("head_without_mask", None, image_probability, image_threshold, "probability")


def _exceeded(name: str, defects: list[Defect], limits: Limits) -> list[Reason]:
    """One reason for each limit that the worst defect, or their number, is beyond."""
    checks: list[tuple[Rule, Unit, float | None, list[float | None]]] = [
        ("max_count", "count", limits.max_count, [len(defects)]),
        ("max_area", "px2", limits.max_area_px, [each.area_px for each in defects]),
        ("max_area", "mm2", limits.max_area_mm2, [each.area_mm2 for each in defects]),
        ("max_length", "px", limits.max_length_px, [each.length_px for each in defects]),
        ("max_length", "mm", limits.max_length_mm, [each.length_mm for each in defects]),
    ]
    reasons = []
    for rule, unit, limit, values in checks:
        if limit is None:
            continue
        measured = [value for value in values if value is not None]
        if len(measured) < len(values):  # to judge without them would be to pass
            raise ValueError("the defects must be measured with the recipe's pixel pitch")
        if max(measured) > limit:
            reasons.append(Reason(rule, name, float(max(measured)), float(limit), unit))
    return reasons

"""From measured defects to a verdict, by the recipe and nothing else."""

from collections.abc import Iterator, Mapping, Sequence

from app.inspection.results import Defect, Findings, Reason, Severity, Verdict
from app.inspection.rules.exceeded import Group, exceeded
from app.inspection.rules.recipe import Recipe

SEVEREST_FIRST: tuple[Severity, ...] = ("critical", "major", "minor")


def judge(
    findings: Findings,
    recipe: Recipe,
    severities: Mapping[str, Severity],
    doubts: tuple[Reason, ...] = (),
    outside_gate: tuple[Reason, ...] = (),
) -> tuple[Verdict, tuple[Reason, ...]]:
    """Hold what `find` found with this recipe against it; `severities` are those of the bundle's classes.

    `fail` where a limit is exceeded, `review` where only one of a review block is, or a defect touches the
    edge and the recipe minds; `doubts` make a `review` of what would pass, `outside_gate` one of anything.
    Reasons stand in the order that decided: the gate's, fail before review, the most severe class first, then
    the largest excess. Tighter limits or one defect more never turn fail into pass.
    """
    if {zone.name for zone in findings.zones} != set(recipe.zones):
        raise ValueError("the defects must be found with the recipe's zones")
    broken = sorted(_broken(findings, recipe, severities), key=lambda each: _rank(each, severities))
    if outside_gate:
        return "review", (*outside_gate, *broken)
    if broken and broken[0].verdict == "fail":
        return "fail", tuple(broken)
    if broken or doubts:
        return "review", (*broken, *doubts)
    return "pass", ()


def doubts_about(
    unexplained_probability: float | None,
    head_threshold: float,
    estimated_dice: float | None,
    recipe: Recipe,
) -> tuple[Reason, ...]:
    """Why not to pass a picture that its defects would let pass.

    `unexplained_probability` is the highest image-level probability of the tiles that the recipe judges and
    in which no defect lies: a defect explains what the head says of its own tiles, not of others.
    """
    doubts = []
    if unexplained_probability is not None and unexplained_probability >= head_threshold:
        doubts.append(
            Reason("head_without_mask", None, unexplained_probability, head_threshold, "probability")
        )
    least = recipe.min_estimated_dice
    if least is not None and estimated_dice is not None and estimated_dice < least:
        doubts.append(Reason("low_confidence", None, estimated_dice, least, "dice"))
    return tuple(doubts)


def _broken(findings: Findings, recipe: Recipe, severities: Mapping[str, Severity]) -> Iterator[Reason]:
    """A reason for each limit that is exceeded anywhere."""
    pitch = recipe.pixel_pitch_mm
    for group in _groups(findings, recipe):
        rules = recipe if group.zone is None else recipe.zones[group.zone]
        severity = severities[group.defect_class]
        fail = exceeded(group, rules.limits_of(group.defect_class, severity), pitch, "fail")
        yield from fail
        if rules.review is not None:
            told = {(each.rule, each.unit) for each in fail}
            review = exceeded(group, rules.review.limits_of(group.defect_class, severity), pitch, "review")
            yield from (each for each in review if (each.rule, each.unit) not in told)
        touching = [number for number, each in group.members if each.touches_border]
        if recipe.border == "review" and group.zone is None and touching:
            yield group.reason("border", len(touching), 0, "count", touching[0])


def _groups(findings: Findings, recipe: Recipe) -> Iterator[Group]:
    places: list[tuple[str | None, tuple[Defect, ...], Sequence[int]]] = [
        (None, findings.defects, range(len(findings.defects)))
    ]
    places += [(each.name, each.defects, each.parents) for each in findings.zones]
    for zone, defects, numbers in places:
        for name in dict.fromkeys(each.defect_class for each in defects):
            pairs = zip(numbers, defects, strict=True)
            members = tuple(pair for pair in pairs if pair[1].defect_class == name)
            yield Group(name, zone, members, len(defects) == 1)


def _rank(reason: Reason, severities: Mapping[str, Severity]) -> tuple[bool, int, float]:
    """Fail first, then the most severe class, then how far beyond its limit, as a ratio, it is."""
    beyond, limit = reason.measured, reason.limit
    if reason.rule == "min_distance":
        beyond, limit = limit, beyond
    excess = beyond / limit if limit > 0 else float("inf")
    severity = severities[reason.defect_class or ""]
    return reason.verdict != "fail", SEVEREST_FIRST.index(severity), -excess
